import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { Code, ConnectError, createContextValues } from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerResponse } from "@connectrpc/connect/protocol";
import type { Limits } from "../../config/limits.ts";
import type { ServeError } from "../../core/errors.ts";
import { bodyWithin } from "../connect/body-deadline.ts";
import { CLIENT_ADDRESS } from "../connect/call-context.ts";
import { withCappedTimeout } from "../connect/capped-timeout.ts";
import { FRAME_SINK, type FrameSink, takesFrames } from "../connect/frame-sink.ts";
import { PREPARED_ANSWER, PreparedAnswer } from "../connect/prepared-answer.ts";
import type { RequestBodies } from "../connect/request-bodies.ts";
import { NOT_WELL_FORMED, withShortHeaders } from "../connect/tidy-errors.ts";
import { readerReady } from "../reader-ready.ts";
import type { TurnBudget } from "../turn-budget.ts";

/**
 * Answers one HTTP/2 stream with an RPC handler. The handler's signal aborts as soon as the stream closes. Never rejects:
 * what goes wrong here is the connection's end, and nobody is left to tell.
 */
export async function serveCall(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  handler: UniversalHandler,
  { limits, turns, bodies }: { limits: Limits; turns: TurnBudget; bodies: RequestBodies },
): Promise<void> {
  // A reset by the client; "close" follows.
  stream.on("error", () => {});
  // Thousands of streams may come in one turn, on one connection; those that are reset by then cost nothing more.
  if (turns.spent()) await turns.next();
  if (stream.closed || stream.destroyed) return;
  const abort = new AbortController();
  stream.on("close", () => abort.abort(new ConnectError("the call was cancelled", Code.Canceled)));
  const sent = Promise.withResolvers<unknown>();
  try {
    const body = readBody(stream);
    const header = withCappedTimeout(withShortHeaders(toHeaders(headers)), limits.maxRpcTimeoutMs);
    const writer = new StreamWriter(stream, limits.stalledReaderMs, (reason) => abort.abort(reason));
    const prepared = new PreparedAnswer(sent.promise);
    // A client may take its time between the messages of a stream of its own, but not within a single request.
    const single = handler.method.methodKind === "unary" || handler.method.methodKind === "server_streaming";
    const response = await handler({
      httpVersion: "2.0",
      method: headers[":method"] ?? "",
      // Connect looks at the path, which is one of ours; the authority may be anything.
      url: `http://localhost${headers[":path"]}`,
      ...bodies.check(handler.method, header, single ? bodyWithin(body, limits.bodyDeadlineMs) : body),
      signal: abort.signal,
      contextValues: createContextValues()
        .set(FRAME_SINK, takesFrames(header) ? writer : undefined)
        .set(PREPARED_ANSWER, prepared)
        .set(CLIENT_ADDRESS, () => stream.session?.socket.remoteAddress ?? ""),
    });
    const whole = await writeResponse(stream, response, writer, prepared);
    sent.resolve(whole ? undefined : abort.signal.reason);
  } catch (error) {
    sent.resolve(abort.signal.aborted ? abort.signal.reason : error);
    // See illFormed().
    if (error instanceof URIError && !stream.headersSent && !stream.destroyed) {
      const status = { "grpc-status": String(Code.InvalidArgument), "grpc-message": NOT_WELL_FORMED };
      stream.respond({ ":status": 200, "content-type": "application/grpc", ...status }, { endStream: true });
    } else stream.close(constants.NGHTTP2_CANCEL);
  }
}

function toHeaders(headers: IncomingHttpHeaders): Headers {
  const result = new Headers();
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith(":") || value === undefined) continue;
    for (const item of Array.isArray(value) ? value : [value]) result.append(name, item);
  }
  // HTTP/2's name for the Host header.
  const authority = headers[":authority"];
  if (authority !== undefined) result.set("host", authority);
  return result;
}

/** The request's bytes. Unlike the stream's own iterator, leaving early does not destroy the stream: the answer is due. */
async function* readBody(stream: ServerHttp2Stream): AsyncGenerator<Uint8Array> {
  let wake = Promise.withResolvers<void>();
  const onEvent = (): void => wake.resolve();
  // A stream without a body may have ended before anyone asks for it.
  let ended = stream.readableEnded;
  stream.on("end", () => {
    ended = true;
    onEvent();
  });
  stream.on("readable", onEvent);
  stream.on("close", onEvent);
  for (;;) {
    wake = Promise.withResolvers();
    const chunk = stream.read() as Buffer<ArrayBuffer> | null;
    if (chunk !== null) yield chunk;
    else if (ended) return;
    else if (stream.destroyed) throw new ConnectError("the call was cancelled", Code.Canceled);
    else await wake.promise;
  }
}

/** Writes to a stream whose head has been sent. */
class StreamWriter implements FrameSink {
  constructor(
    private readonly stream: ServerHttp2Stream,
    private readonly stalledReaderMs: number,
    /** Ends the work behind the stream. */
    private readonly abort: (reason: ServeError) => void,
  ) {}

  write(bytes: Uint8Array): Promise<void> | undefined {
    const { stream } = this;
    if (stream.closed || stream.destroyed) throw new ConnectError("the call was cancelled", Code.Canceled);
    if (stream.write(bytes)) return undefined;
    return readerReady(drained(stream), this.stalledReaderMs, (error) => {
      // First: the stream's end would be taken for the client's doing, and may wait behind what the peer does not read.
      this.abort(error);
      stream.close(constants.NGHTTP2_CANCEL);
    });
  }
}

/** Resolves with false where the stream closed before all was written. */
async function writeResponse(
  stream: ServerHttp2Stream,
  response: UniversalServerResponse,
  writer: StreamWriter,
  prepared: PreparedAnswer,
): Promise<boolean> {
  const head = { ":status": response.status, ...Object.fromEntries(response.header ?? []) };
  const { body = [], trailer } = response;
  const sendHead = (): void => {
    if (stream.headersSent || stream.closed || stream.destroyed) return;
    // The trailers are complete only when the body is.
    stream.on("wantTrailers", () => {
      try {
        stream.sendTrailers(Object.fromEntries(trailer ?? []));
      } catch {
        // Called by the session: what is thrown here would be nobody's. A stream without its trailers has failed.
        stream.close(constants.NGHTTP2_INTERNAL_ERROR);
      }
    });
    stream.respond(head, { waitForTrailers: trailer !== undefined });
  };
  for await (const chunk of body) {
    sendHead();
    for (const bytes of prepared.framesFor(chunk)) await writer.write(bytes);
  }
  // Also without a message: a head merged into the trailers would lose which of its fields are which.
  sendHead();
  if (stream.closed || stream.destroyed) return false;
  stream.end();
  // What is still on its way up was not wanted; without this the client would go on sending it.
  if (!stream.readableEnded) stream.close(constants.NGHTTP2_NO_ERROR);
  return true;
}

function drained(stream: ServerHttp2Stream): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stream.off("drain", done);
      stream.off("close", done);
      resolve();
    };
    stream.on("drain", done);
    stream.on("close", done);
  });
}
