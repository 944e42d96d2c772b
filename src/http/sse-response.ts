import type { Limits } from "../config/limits.ts";
import { ServeError, toServeError } from "../core/errors.ts";
import { errorBody } from "./error-response.ts";
import { KeepAlive } from "./keep-alive.ts";
import { SseWriter } from "./sse-writer.ts";
import type { TurnBudget } from "./turn-budget.ts";
import type { TurnQueue } from "./turn-queue.ts";

const HEADERS = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache",
  // nginx buffers proxied responses otherwise.
  "x-accel-buffering": "no",
};

export interface SseOptions {
  readonly limits: Limits;
  readonly turns: TurnQueue;
  readonly budget: TurnBudget;
  /** Called before the last byte is handed over: the connection is the server's again after it. */
  closing(): void;
  /** Aborted when the client went away. */
  readonly disconnected: AbortSignal;
  /** Ends the work behind the stream. */
  abort(reason: ServeError): void;
}

/** Queues whole events, in pieces where they are long; await the result, which is set while the reader is slow. */
export type SendEvents = (events: string | Iterable<string>) => Promise<void> | undefined;

export interface SseResponse {
  readonly response: Response;
  /** Resolves when the stream is over, with the error that ended it, if one did. */
  readonly ended: Promise<unknown>;
}

/**
 * Server-sent events (WHATWG HTML, section 9.2). The response begins with the first event that `produce` sends, or the
 * first keep-alive comment: an error before that is thrown, and can still be an HTTP status. A later one becomes an event
 * that ends the stream. A reader that takes nothing for stalledReaderMs is dropped.
 */
export async function sseResponse(
  produce: (send: SendEvents) => Promise<void>,
  { limits, turns, budget, closing, disconnected, abort }: SseOptions,
): Promise<SseResponse> {
  const begun = Promise.withResolvers<void>();
  const stalled = () => abort(new ServeError("cancelled", "The client stopped reading.", { reason: "stalled_reader" }));
  const broken = (cause: unknown) => abort(new ServeError("cancelled", "The stream cannot be written to.", { cause }));
  const writer = new SseWriter(limits, turns, stalled, broken);
  let silent = true;
  const send: SendEvents = (events) => {
    silent = false;
    keepAlive.touch();
    begun.resolve();
    return typeof events === "string" ? writer.send(events) : writer.sendLong(events, budget);
  };
  const keepAlive = new KeepAlive(limits.keepAliveMs, () => {
    if (!writer.blocked) send(": keep-alive\n\n");
  });
  const onDisconnect = () => writer.drop();
  disconnected.addEventListener("abort", onDisconnect);

  const ended = (async (): Promise<unknown> => {
    let failure: unknown;
    try {
      await produce(send);
    } catch (error) {
      failure = error;
      if (!silent) send(`data: ${JSON.stringify(errorBody(toServeError(error)))}\n\n`);
    } finally {
      keepAlive.stop();
    }
    if (!silent) await writer.close(closing);
    disconnected.removeEventListener("abort", onDisconnect);
    return failure;
  })();
  await Promise.race([begun.promise, ended]);
  if (silent) throw (await ended) ?? new Error("a stream must send something");

  const source: Bun.DirectUnderlyingSource<Uint8Array> = {
    type: "direct",
    async pull(controller) {
      writer.attach(controller);
      await writer.gone;
    },
    cancel() {
      writer.drop();
      abort(new ServeError("cancelled", "The client went away."));
    },
  };
  const body = new ReadableStream(source as unknown as UnderlyingByteSource);
  return { response: new Response(body, { headers: HEADERS }), ended };
}
