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
  ["parse", "body, JSON, validation"],
  ["template", "rendering the chat template"],
  ["tokenise", "text to token ids"],
  ["text wait", "to the tokenizer Worker and back, behind other texts"],
  ["admission", "ranges, routing, queue bound"],
  ["queue", "until the first step that carries it"],
  ["prefill", "the way to the engine, steps up to the first token"],
  ["message", "from the engine's thread to the main thread"],
  ["detokenise", "tokens to text, stop strings"],
  ["deliver", "text to the reader of the stream, behind others of the step"],
  ["format", "event to JSON and SSE"],
  ["write", "socket, and the client's read"],
] as const;
export type RequestStage = (typeof REQUEST_STAGES)[number][0];

/** What the engine's stages of a step compute. */
export const KERNELS: Readonly<Record<string, string>> = {
  embed: "embedding rows",
  norm: "norms, activation quantisation",
  qkv: "query, key and value products",
  rope_kv: "rotary embedding, KV write",
  attention: "attention over the KV cache",
  o: "attention output product",
  gate_up: "MLP gate and up products",
  down: "MLP down product",
  moe_route: "expert routing",
  lm_head: "logits",
  sample: "sampling",
  other: "the rest of the forward pass",
};

/** Stages of a token beside the device: other threads do them while it computes. */
export const TOKEN_STAGES = [
  ["schedule", "deciding and submitting the next step, posting results"],
  ["pack", "the step's descriptor"],
  ["commit", "the step's tokens into sequences"],
  ["detokenise", "tokens to text, stop strings"],
  ["format", "events to JSON and SSE"],
  ["write", "to sockets"],
] as const;
export type TokenStage = (typeof TOKEN_STAGES)[number][0];

/** How often something happened and how long it took, summed. */
export interface Tally {
  count: number;
  ms: number;
}

export interface StageSnapshot {
  /** Requests that reached their first token. */
  requests: number;
  /**
   * Sums over those requests, ms. `accept` and `write` have their other ends at the client: see `boundary`. `prefill` holds
   * the message, `deliver` holds detokenising: neither is told for single requests, see below.
   */
  stageMs: Record<Exclude<RequestStage, "accept" | "message" | "detokenise" | "write">, number>;
  /** Sums of points in time on the client's clock: key check begun, first event formatted. */
  boundary: { arrivedMs: number; formattedMs: number };
  /** Step messages from the engine's thread. */
  messages: Tally;
  /** Pushes of new tokens into a choice's text. */
  detokenise: Tally;
  /** Events with text, turned into what goes to the socket. */
  format: Tally;
  /** Turns of the event loop that wrote to sockets. */
  write: Tally;
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
  /** All work around the device, hidden behind it where steps overlap; of it, packing and committing. */
  scheduleMs: number;
  packMs: number;
  commitMs: number;
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
  return { steps: 0, tokens: 0, stepMs: 0, gapMs: 0, scheduleMs: 0, packMs: 0, commitMs: 0, kernels: {} };
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
