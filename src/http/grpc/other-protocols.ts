import type { ServerHttp2Stream } from "node:http2";
import { Code } from "@connectrpc/connect";

/** What a client of another protocol is told, in words. */
function sentence(httpPort: number | undefined): string {
  const where = httpPort === undefined ? "the HTTP port" : `port ${httpPort}`;
  return `This port speaks gRPC only. REST, Connect and gRPC-Web are served on ${where}.`;
}

/** The form in which Connect's clients read an error, and people can, too. */
function errorBody(httpPort: number | undefined): string {
  return `${JSON.stringify({ code: "unimplemented", message: sentence(httpPort) })}\n`;
}

/** The answer to HTTP/1, which its first line tells; undefined for what is none. */
export function answerToHttp1(received: Buffer, httpPort: number | undefined): string | undefined {
  if (!/^[A-Z]+ \S+ HTTP\/1\.[01]\r?\n/.test(received.toString("latin1"))) return undefined;
  const content = errorBody(httpPort);
  const head = ["HTTP/1.1 400 Bad Request", "content-type: application/json", `content-length: ${content.length}`];
  return `${[...head, "connection: close"].join("\r\n")}\r\n\r\n${content}`;
}

/** Answers a request over HTTP/2 that is not gRPC's. */
export function refuseOtherProtocol(
  stream: ServerHttp2Stream,
  contentType: string,
  httpPort: number | undefined,
): void {
  const grpcWeb = /^application\/grpc-web(-text)?(\+[a-z]{1,20})?/i.exec(contentType)?.[0];
  if (grpcWeb !== undefined) {
    const status = { "grpc-status": String(Code.Unimplemented), "grpc-message": sentence(httpPort) };
    stream.respond({ ":status": 200, "content-type": grpcWeb, ...status }, { endStream: true });
    return;
  }
  const isConnect = /^application\/(?:json|proto|connect\+)/i.test(contentType);
  stream.respond({ ":status": 415, "content-type": isConnect ? "application/json" : "text/plain" });
  stream.end(isConnect ? errorBody(httpPort) : `${sentence(httpPort)}\n`);
}
