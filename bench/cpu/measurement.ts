/** What a side is asked to measure; the same for ScaleLLM and its peers, and what a peer's worker reads as JSON. */
export type MeasurementRequest =
  | {
      readonly kind: "decode";
      /** Sequences in each step. */
      readonly streams: number;
      /** Tokens each holds before the first timed step. */
      readonly promptTokens: number;
      /** Timed steps. */
      readonly tokens: number;
    }
  | { readonly kind: "prefill" /** Length of the one prompt. */; readonly tokens: number };

export interface Measurement {
  /** Over all streams. */
  readonly tokens: number;
  readonly seconds: number;
  /** CPU time of all threads of the side's process. */
  readonly cpuSeconds: number;
  readonly tokensPerS: number;
}

/** One engine on the same model file and number of threads. */
export interface Side {
  readonly name: string;
  measure(request: MeasurementRequest): Promise<Measurement>;
  close(): Promise<void>;
}

export function describeRequest(request: MeasurementRequest): string {
  if (request.kind === "prefill") return `prefill ${request.tokens}`;
  return request.streams === 1 ? "decode alone" : `decode, ${request.streams} streams`;
}
