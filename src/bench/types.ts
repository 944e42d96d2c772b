/** The vocabulary of a benchmark. Times are milliseconds on one monotonic clock; lengths are tokens. */

/** One server under test. */
export interface Endpoint {
  /** Shown in tables; unique in a run. */
  readonly label: string;
  /** The API's root, ending in `/v1`. */
  readonly baseUrl: URL;
  /** The model's name in requests; undefined: the first one that `GET /v1/models` lists. */
  readonly model: string | undefined;
}

export type ApiKind = "chat" | "completions";

/** Why a request did not finish. `http-NNN` carries the status. */
export type ErrorKind =
  | "connect" // refused, unreachable, TLS or name failure
  | "cut" // the connection ended before the response did
  | "timeout" // unfinished after the request timeout
  | "protocol" // not HTTP/1.1, not a stream of events, or no content in it
  | "stream-error" // an error event in mid-stream
  | "cancelled" // Ctrl-C; kept out of every figure
  | `http-${number}`;

/** What one request showed. The raw material of every figure; one line of the results file. */
export interface RequestRecord {
  endpoint: string;
  /** Index of the cell (endpoints share cells). */
  cell: number;
  /** Which session of the workload, and which turn of it. */
  session: number;
  turn: number;
  /** When it should have been sent. Equal to `sentMs` in a closed loop; latency counts from here. */
  scheduledMs: number;
  sentMs: number;
  /** The end of the response: `[DONE]`, or the end of the body; undefined when it failed before. */
  endMs: number | undefined;
  /** Arrival of each event that carried output text. */
  chunkMs: number[];
  promptTokens: number | undefined;
  /** From `usage`; where the server sends none, the number of content events. */
  outputTokens: number;
  outputTokensFrom: "usage" | "events";
  /** Output length asked for. */
  maxTokens: number;
  error: { kind: ErrorKind; detail: string } | undefined;
}

/** How requests are started. */
export type Load =
  | { kind: "closed"; concurrency: number }
  | { kind: "poisson" | "constant"; ratePerS: number }
  /** A Poisson process whose rate rises linearly from the first to the second over the duration. */
  | { kind: "ramp"; fromPerS: number; toPerS: number; durationS: number }
  /** At the workload's own timestamps, speeded up by the factor. */
  | { kind: "trace"; speed: number };

/** One measured point: a load, applied to every endpoint in turn. */
export interface Cell {
  readonly index: number;
  readonly load: Load;
  /** Short and unique: `c=16`, `poisson 4/s`. */
  readonly label: string;
  /** Position on the charts' axis: concurrency, or requests a second. */
  readonly x: number;
}

export function describeLoad(load: Load): { label: string; x: number } {
  switch (load.kind) {
    case "closed":
      return { label: `c=${load.concurrency}`, x: load.concurrency };
    case "poisson":
    case "constant":
      return { label: `${load.kind} ${load.ratePerS}/s`, x: load.ratePerS };
    case "ramp":
      return { label: `ramp ${load.fromPerS}-${load.toPerS}/s`, x: load.toPerS };
    case "trace":
      return { label: `trace x${load.speed}`, x: load.speed };
  }
}
