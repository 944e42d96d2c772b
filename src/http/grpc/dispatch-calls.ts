import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { Code } from "@connectrpc/connect";
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import type { Limits } from "../../config/limits.ts";
import type { RequestBodies } from "../connect/request-bodies.ts";
import type { RpcDeps } from "../connect/rpc-deps.ts";
import { isNativeGrpc } from "../native-grpc.ts";
import { serveCall } from "./grpc-call.ts";
import { refuseOtherProtocol } from "./other-protocols.ts";

/** Gives each HTTP/2 stream to the handler of its path, and refuses what no handler is for. */
export function dispatchCalls(
  handlers: readonly UniversalHandler[],
  bodies: RequestBodies,
  { limits, turns }: Pick<RpcDeps, "limits" | "turns">,
  httpPort: number | undefined,
): (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void {
  const byPath = new Map(handlers.map((handler) => [handler.requestPath, handler]));
  return (stream, headers) => {
    const contentType = headers["content-type"] ?? "";
    const handler = byPath.get(headers[":path"] ?? "");
    if (!isNativeGrpc(contentType)) refuse(stream, limits, () => refuseOtherProtocol(stream, contentType, httpPort));
    else if (handler === undefined) refuse(stream, limits, () => refuseUnknownMethod(stream));
    else void serveCall(stream, headers, handler, { limits, turns, bodies });
  };
}

/**
 * Answers when the request has arrived, or has had its time: until then its form can still turn out to be wrong, and a
 * client that is still sending may not look at an answer.
 */
function refuse(stream: ServerHttp2Stream, { refusedBodyMs }: Limits, answer: () => void): void {
  stream.on("error", () => {});
  const onEnd = (): void => {
    clearTimeout(timer);
    stream.off("end", onEnd);
    if (stream.closed || stream.destroyed || stream.session === undefined) return;
    try {
      answer();
      if (!stream.readableEnded) stream.close(constants.NGHTTP2_NO_ERROR);
    } catch {
      // Called by a timer or the session: the stream went away while it was answered.
      if (!stream.destroyed) stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    }
  };
  const timer = setTimeout(onEnd, refusedBodyMs);
  stream.on("end", onEnd);
  stream.on("close", () => clearTimeout(timer));
  stream.resume();
}

/** As gRPC asks for: HTTP 200 and a status. */
function refuseUnknownMethod(stream: ServerHttp2Stream): void {
  const status = { "grpc-status": String(Code.Unimplemented), "grpc-message": "unknown method" };
  stream.respond({ ":status": 200, "content-type": "application/grpc", ...status }, { endStream: true });
}
