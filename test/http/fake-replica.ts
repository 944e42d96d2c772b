import { ServeError } from "../../src/core/errors.ts";
import type { FinishReason, GenerateEvent, GenerateRequest, TokenLogprob } from "../../src/core/generate.ts";
import { emptyStats } from "../../src/engine/step-message.ts";
import type { Replica, ReplicaStats } from "../../src/replica/replica.ts";
import { byteTokenizer } from "./fake-text-service.ts";

/** What a fake replica does with a request. */
export interface Script {
  /** One a step; every choice gets the same. "" is a step whose bytes are held back. */
  pieces: readonly string[];
  finishReason?: FinishReason;
  stopReason?: string | number;
  cachedTokens?: number;
  /** Awaited before step i; the request can be aborted meanwhile. */
  before?: (step: number) => Promise<void> | undefined;
  /** Thrown in place of step i, or of the first event for -1. */
  failAt?: { step: number; error: unknown };
}

/** Runs scripts. Counts what is running, and how many were aborted. */
export class FakeReplica implements Replica {
  readonly name = "fake";
  readonly requests: GenerateRequest[] = [];
  script: (request: GenerateRequest) => Script = () => ({ pieces: ["Hello", ", ", "world", "!"] });
  running = 0;
  aborted = 0;
  ready = true;
  private waiters: Array<{ until: () => boolean; resolve: () => void }> = [];

  async *generate(request: GenerateRequest, signal: AbortSignal): AsyncGenerator<GenerateEvent> {
    this.requests.push(request);
    const script = this.script(request);
    this.running++;
    this.changed();
    try {
      yield* this.run(request, script, signal);
    } catch (error) {
      if (signal.aborted) this.aborted++;
      throw error;
    } finally {
      this.running--;
      this.changed();
    }
  }

  private async *run(request: GenerateRequest, script: Script, signal: AbortSignal): AsyncGenerator<GenerateEvent> {
    const { n, sampling, promptTokenIds } = request;
    if (script.failAt?.step === -1) throw script.failAt.error;
    const logprobs = sampling.promptLogprobs;
    yield {
      type: "prompt",
      cachedTokens: script.cachedTokens ?? 0,
      promptLogprobs:
        logprobs === undefined
          ? undefined
          : Array.from(promptTokenIds, (id, i) => (i === 0 ? null : fakeLogprob(id, logprobs))),
    };
    let completionTokens = 0;
    for (const [step, text] of script.pieces.entries()) {
      await notAborted(script.before?.(step), signal);
      if (script.failAt?.step === step) throw script.failAt.error;
      const tokenIds = text === "" ? [0xe2] : Array.from(byteTokenizer.encode(text, false));
      completionTokens += tokenIds.length;
      const top = sampling.logprobs;
      const entries = top === undefined ? undefined : tokenIds.map((id) => fakeLogprob(id, top));
      for (let index = 0; index < n; index++) yield { type: "text-delta", index, text, tokenIds, logprobs: entries };
    }
    const usage = { promptTokens: promptTokenIds.length, completionTokens, cachedTokens: script.cachedTokens ?? 0 };
    const timings = { arrivedMs: 0, scheduledMs: 250, firstTokenMs: 300, finishedMs: 400, preemptions: 0 };
    const finishReason = script.finishReason ?? "stop";
    const stopReason = script.stopReason;
    for (let index = 0; index < n; index++) yield { type: "end", index, finishReason, stopReason, usage, timings };
  }

  stats(): ReplicaStats {
    return {
      ready: this.ready,
      running: this.running,
      waiting: 3,
      kvBlocksTotal: 64,
      kvBlocksUsed: 16,
      promptTokens: 100,
      cachedTokens: 40,
      outputTokens: 50,
      preemptions: 2,
      engine: { ...emptyStats(), steps: 9, stepMs: 90, gapMs: 1500, draftTokens: 8, acceptedDraftTokens: 5 },
    };
  }

  /** Resolves once `condition` holds, looked at whenever a request begins or ends. */
  until(condition: () => boolean): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.waiters.push({ until: condition, resolve });
    this.changed();
    return promise;
  }

  private changed(): void {
    this.waiters = this.waiters.filter(({ until, resolve }) => {
      if (until()) resolve();
      return !until();
    });
  }

  async drain(): Promise<void> {}
  async close(): Promise<void> {}
}

/** A function of the token: the token first, then the ids after it. */
export function fakeLogprob(tokenId: number, top: number): TokenLogprob {
  const logprob = -(1 + (tokenId % 8)) / 16;
  return {
    tokenId,
    logprob,
    rank: 1,
    top: Array.from({ length: top }, (_, i) => ({ tokenId: (tokenId + i) % 256, logprob: logprob - i })),
  };
}

async function notAborted(wait: Promise<void> | undefined, signal: AbortSignal): Promise<void> {
  const aborted = Promise.withResolvers<void>();
  const onAbort = () => aborted.resolve();
  signal.addEventListener("abort", onAbort);
  if (signal.aborted) aborted.resolve();
  // Without anything to wait for a step still takes a turn of the event loop, as a real one does.
  await Promise.race([wait ?? new Promise<void>((resolve) => setImmediate(resolve)), aborted.promise]);
  signal.removeEventListener("abort", onAbort);
  if (signal.aborted) throw new ServeError("cancelled", "the request was aborted");
}
