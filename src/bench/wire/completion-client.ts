import { LIMITS } from "../../config/limits.ts";
import type { Clock } from "../../core/clock.ts";
import { failureReason } from "../../core/failure-reason.ts";
import type { ErrorKind } from "../types.ts";
import type { Connection, Exchange } from "./connection.ts";
import { ConnectionPool } from "./connection-pool.ts";
import { emptyState, StreamReader, type StreamState, type TextPlace } from "./stream-reader.ts";

export interface CompletionCall {
  /** Path of the endpoint below the base URL, such as `chat/completions`. */
  path: string;
  body: unknown;
  timeoutMs: number;
  keepText: boolean;
  signal: AbortSignal;
}

export interface CompletionResult {
  sentMs: number;
  endMs: number | undefined;
  state: StreamState;
  text: string;
  error: { kind: ErrorKind; detail: string } | undefined;
}

/** Connections that take longer are made by the requests themselves, which then report why. */
const PREPARE_MS = 5000;

/** Streams completions from one server. Never throws for what the server does: failures are results. */
export class CompletionClient {
  readonly #clock: Clock;
  readonly #base: URL;
  readonly #pool: ConnectionPool;
  readonly #headers: string;
  readonly #place: TextPlace = { needle: undefined, offset: 0 };
  /** Called with the number of content events of each read: for live figures. */
  onChunks: ((count: number) => void) | undefined;

  constructor(base: URL, headers: Readonly<Record<string, string>>, clock: Clock) {
    this.#clock = clock;
    this.#base = base;
    this.#pool = new ConnectionPool(base, clock);
    this.#headers = Object.entries({ host: base.host, "user-agent": "scalellm-bench", ...headers })
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join("");
  }

  /** Resolves when the response has ended, well or not. */
  async stream(call: CompletionCall): Promise<CompletionResult> {
    const request = this.#encode(call);
    const sentMs = this.#clock.nowMs();
    let connection = this.#pool.reuse();
    const reused = connection !== undefined;
    for (let attempt = 0; ; attempt++) {
      try {
        connection ??= await this.#pool.fresh(AbortSignal.any([call.signal, AbortSignal.timeout(call.timeoutMs)]));
      } catch (error) {
        if (call.signal.aborted) return this.#failed(sentMs, "cancelled", "");
        if (error instanceof DOMException) return this.#failed(sentMs, "timeout", "no connection was made in time");
        return this.#failed(sentMs, "connect", failureReason(error));
      }
      const result = await this.#exchange(connection, request, call, sentMs);
      // A server may close an idle connection just as a request is written to it; RFC 9112 section 9.3.1 says to retry.
      if (result !== "unanswered") return result;
      if (!reused || attempt > 0) return this.#failed(sentMs, "cut", "connection closed before any reply");
      connection = undefined;
    }
  }

  /** Opens connections ahead, so that a closed loop's first requests do not time the handshakes of all. */
  prepare(connections: number, signal: AbortSignal): Promise<void> {
    return this.#pool.prepare(connections, AbortSignal.any([signal, AbortSignal.timeout(PREPARE_MS)]));
  }

  close(): void {
    this.#pool.close();
  }

  #encode(call: CompletionCall): Buffer {
    const body = JSON.stringify(call.body);
    const path = `${this.#base.pathname.replace(/\/$/, "")}/${call.path}`;
    return Buffer.from(
      `POST ${path} HTTP/1.1\r\n${this.#headers}content-type: application/json\r\naccept: text/event-stream\r\n` +
        `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
  }

  #failed(sentMs: number, kind: ErrorKind, detail: string): CompletionResult {
    return { sentMs, endMs: undefined, state: emptyState(), text: "", error: { kind, detail } };
  }

  #exchange(
    connection: Connection,
    request: Buffer,
    call: CompletionCall,
    sentMs: number,
  ): Promise<CompletionResult | "unanswered"> {
    const reader = new StreamReader(call.keepText, this.#place);
    const { state } = reader;
    return new Promise((resolve) => {
      let status = 0;
      let isStream = false;
      let refusal = "";
      let endMs: number | undefined;
      const settle = (error: CompletionResult["error"]): void => {
        clearTimeout(timer);
        call.signal.removeEventListener("abort", abort);
        const text = call.keepText && error === undefined ? reader.text() : "";
        resolve({ sentMs, endMs: error === undefined ? endMs : undefined, state, text, error });
      };
      const stop = (kind: ErrorKind, detail: string): void => {
        this.#pool.discard(connection);
        settle({ kind, detail });
      };
      const abort = (): void => stop("cancelled", "");
      const timer = setTimeout(
        () => stop("timeout", `unfinished after ${call.timeoutMs / 1000} s`),
        Math.max(0, call.timeoutMs - (this.#clock.nowMs() - sentMs)),
      );
      call.signal.addEventListener("abort", abort);
      const exchange: Exchange = {
        onHead: (code, headers) => {
          status = code;
          isStream = headers.get("content-type")?.startsWith("text/event-stream") ?? false;
        },
        onBody: (buffer, start, end, atMs) => {
          if (status !== 200 || !isStream) {
            if (refusal.length < LIMITS.maxBenchErrorBytes) refusal += buffer.toString("utf8", start, end);
            return;
          }
          const before = state.chunkMs.length;
          reader.push(buffer, start, end, atMs);
          const fresh = state.chunkMs.length - before;
          if (fresh > 0) this.onChunks?.(fresh);
          if (state.sawDone) endMs ??= atMs;
        },
        onEnd: (atMs) => {
          endMs ??= atMs ?? this.#clock.nowMs();
          reader.finish();
          settle(verdict(status, isStream, refusal, state));
        },
        onCut: (cut, detail) => {
          this.#pool.discard(connection);
          if (cut !== "unanswered") {
            settle({ kind: cut === "malformed" ? "protocol" : "cut", detail: state.error ?? detail });
            return;
          }
          clearTimeout(timer);
          call.signal.removeEventListener("abort", abort);
          resolve(cut);
        },
      };
      connection.send(request, exchange);
    });
  }
}

/** Whether a response that ended in order is a finished completion. */
function verdict(
  status: number,
  isStream: boolean,
  refusal: string,
  state: StreamState,
): { kind: ErrorKind; detail: string } | undefined {
  if (status !== 200) return { kind: `http-${status}`, detail: messageOf(refusal) };
  if (!isStream) return { kind: "protocol", detail: "the reply is not an event stream" };
  if (state.error !== undefined) return { kind: "stream-error", detail: state.error };
  // Without [DONE] only a finish reason tells a whole stream from one that a proxy ended early.
  if (!state.sawDone && state.finishReason === undefined)
    return { kind: "cut", detail: "the stream ended without [DONE] or a finish reason" };
  if (state.chunkMs.length === 0) return { kind: "protocol", detail: "the stream held no output" };
  return undefined;
}

/** The message of an OpenAI-style error body, or its beginning. */
function messageOf(body: string): string {
  try {
    const message: unknown = JSON.parse(body)?.error?.message;
    if (typeof message === "string") return message;
  } catch {
    // Not JSON: shown as it is.
  }
  return body.slice(0, 200);
}
