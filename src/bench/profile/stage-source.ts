/** Time that stages of a server took, as counters: a profile is the difference of two snapshots. */
export interface StageSource {
  /** Starts timing a load of so many streams, or stops (0): then the server runs as it always does. */
  enable(streams: number): Promise<void>;
  /** Counters since the source was made. Take it while no request runs, so that stages count the same requests. */
  snapshot(): Promise<StageSnapshot>;
  /** What single requests did since the last call, for a trace; at most a bounded number. */
  takeSpans(): TraceSpan[];
}

/** The stages of a request up to its first token, in their order; each ends where the next begins. */
export const REQUEST_STAGES = [
  ["accept", "sent by the client to the key check: socket, HTTP, routing"],
  ["auth", "the key check"],
  ["parse", "body, JSON, validation, admission"],
  ["text", "template and tokens, with the way to the Worker and back"],
  ["queue", "until the first step that carries it"],
  ["prefill", "steps up to the first token, with the message that brings it"],
  ["deliver", "first token to text and event"],
  ["write", "event to JSON, socket and the client's read"],
] as const;
export type RequestStage = (typeof REQUEST_STAGES)[number][0];

export interface StageSnapshot {
  /** Requests that reached their first token. */
  requests: number;
  /** Sums over those requests, ms. `accept` and `write` have their other ends at the client: see `boundary`. */
  stageMs: Record<Exclude<RequestStage, "accept" | "write">, number>;
  /** Sums of points in time on the client's clock: key check begun, first event delivered. */
  boundary: { arrivedMs: number; deliveredMs: number };
  /** Turning events into what goes to the socket, summed, and how many events that were. */
  formatMs: number;
  events: number;
  /** Every step. */
  engine: EngineSnapshot;
  /** The steps while every stream of the load was decoding: nothing but decode, at the full batch. */
  decode: EngineSnapshot;
}

export interface EngineSnapshot {
  steps: number;
  tokens: number;
  /** Device time of steps. */
  stepMs: number;
  /** Device idle between steps while there was work. */
  gapMs: number;
  /** Deciding, packing, committing; hidden behind the device where steps overlap. */
  scheduleMs: number;
  kernels: Record<string, KernelCounters>;
}

export interface KernelCounters {
  ms: number;
  /** Weight and KV bytes that had to be read. */
  bytes: number;
  /** Multiply-adds. */
  ops: number;
}

/** One stage of one request, or another stretch of time worth seeing. */
export interface TraceSpan {
  name: string;
  /** Which row of the trace. */
  track: string;
  startMs: number;
  endMs: number;
}

export function emptyEngineSnapshot(): EngineSnapshot {
  return { steps: 0, tokens: 0, stepMs: 0, gapMs: 0, scheduleMs: 0, kernels: {} };
}

/** What happened between two snapshots of the same kind: counter by counter, b - a. */
export function differenceOf<T extends object>(a: T, b: T): T {
  return combine(a, b, (earlier, later) => later - earlier);
}

export function sumOf<T extends object>(a: T, b: T): T {
  return combine(a, b, (one, other) => one + other);
}

/** Counters missing on the left are 0 there. */
function combine<T extends object>(a: T, b: T, join: (a: number, b: number) => number): T {
  const entries = Object.entries(b).map(([key, value]) => {
    const left: unknown = Reflect.get(a, key);
    if (typeof value === "number") return [key, join(typeof left === "number" ? left : 0, value)];
    return [key, combine((left ?? {}) as object, value as object, join)];
  });
  return Object.fromEntries(entries) as T;
}
