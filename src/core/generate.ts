import type { SamplingParams } from "./sampling-params.ts";

/** Lower runs first. The default of a request is 0, as in vLLM. */
export type Priority = number;

/** One request as every layer below HTTP sees it. Frozen once made. */
export interface GenerateRequest {
  /** Unique in the process; appears in logs and responses. */
  readonly id: string;
  /** The served model's name. */
  readonly model: string;
  /** The prompt's token ids; present where the model is served here. At least one token. */
  readonly promptTokenIds: Int32Array;
  /** The prompt as text, where it came as text or messages (a remote replica sends it on). */
  readonly promptText: string | undefined;
  /** Number of choices; they share the prompt's KV blocks. */
  readonly n: number;
  readonly sampling: SamplingParams;
  readonly priority: Priority;
  /** Whose quota and prefix cache this request uses: a key's tenant, or "" without authentication. */
  readonly tenant: string;
  /** Milliseconds on the injected monotonic clock after which the request is dropped with deadline_exceeded. */
  readonly deadlineMs: number | undefined;
  /** Bytes of output that may wait for the reader before nothing more is computed for it; undefined: maxWaitingOutputBytes. */
  readonly maxWaitingBytes?: number | undefined;
  /** Continue a stream begun elsewhere: sampler position, penalties, stop buffer and remaining tokens are restored. */
  readonly resume: { readonly outputTokenIds: Int32Array } | undefined;
}

/** A token with its log probability, and the most likely alternatives at its position. */
export interface TokenLogprob {
  tokenId: number;
  /** Natural log of the raw softmax (before penalties and temperature). */
  logprob: number;
  /** 1 is the most likely. */
  rank: number;
  top: ReadonlyArray<{ tokenId: number; logprob: number }>;
}

export type FinishReason = "stop" | "length" | "tool_calls" | "abort";

export interface Usage {
  promptTokens: number;
  completionTokens: number;
  /** Prompt tokens whose KV came from the prefix cache. */
  cachedTokens: number;
}

/** Monotonic times in ms at which a request passed a stage; differences are stage timings. */
export interface StageTimings {
  arrivedMs: number;
  /** Left the queue: the first step that carried one of its tokens was submitted. */
  scheduledMs: number;
  firstTokenMs: number;
  finishedMs: number;
  preemptions: number;
}

export type GenerateEvent =
  /** Once, with the first output or before it: what is known of the prompt. promptLogprobs[0] is null, as in vLLM. */
  | { type: "prompt"; cachedTokens: number; promptLogprobs: ReadonlyArray<TokenLogprob | null> | undefined }
  | {
      type: "text-delta";
      /** Which of the n choices. */
      index: number;
      /** May be empty while bytes of a character or a possible stop string are held back. */
      text: string;
      tokenIds: readonly number[];
      logprobs: readonly TokenLogprob[] | undefined;
    }
  | {
      type: "end";
      index: number;
      finishReason: FinishReason;
      /** The stop string or stop token id that ended it; undefined for the model's end token. */
      stopReason: string | number | undefined;
      /** Of this choice: completionTokens of its own, promptTokens of the request. */
      usage: Usage;
      timings: StageTimings;
    };
