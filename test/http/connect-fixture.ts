import { LIMITS, type Limits } from "../../src/config/limits.ts";
import { systemClock } from "../../src/core/clock.ts";
import { ServeError } from "../../src/core/errors.ts";
import type { GenerateEvent, GenerateRequest } from "../../src/core/generate.ts";
import { BrowserGuard } from "../../src/gateway/browser-guard.ts";
import { FailedAttempts } from "../../src/gateway/failed-attempts.ts";
import { Gateway } from "../../src/gateway/gateway.ts";
import type { RpcDeps } from "../../src/http/connect/rpc-deps.ts";
import { DescriptorBound, processDescriptors } from "../../src/http/descriptor-bound.ts";
import { Lifecycle } from "../../src/http/lifecycle.ts";
import { TurnBudget } from "../../src/http/turn-budget.ts";
import type { LogFields, LogLevel } from "../../src/metrics/logger.ts";
import { RefusalLog } from "../../src/metrics/refusal-log.ts";
import type { Replica, ReplicaStats } from "../../src/replica/replica.ts";
import type { ChatMessage } from "../../src/text/chat.ts";
import type { TextService } from "../../src/text/text-service.ts";

/** One token a character code: enough to tell what was tokenised, by whom and how. BOS is 1. */
const textService: TextService = {
  ready: true,
  tokenizer: {
    vocabSize: 256,
    bosTokenId: 1,
    eosTokenIds: [2],
    encode: (text, bos) => Int32Array.from([...(bos ? [1] : []), ...Array.from(text, (c) => c.charCodeAt(0))]),
    decode: (ids, skip) => String.fromCharCode(...Array.from(ids).filter((id) => !skip || id > 2)),
    tokenBytes: (id) => Uint8Array.of(id),
    tokenText: (id) => (id < 128 ? String.fromCharCode(id) : undefined),
    isSpecial: (id) => id <= 2,
  },
  hasChatTemplate: true,
  encode: async (text, bos) => textService.tokenizer.encode(text, bos),
  encodeChat: async (messages, options) => {
    const extra = ({ role: _role, content: _content, ...rest }: ChatMessage) =>
      Object.keys(rest).length === 0 ? "" : JSON.stringify(rest);
    const turns = messages.map((m) => `<${m.role}>${m.content}${extra(m)}`).join("");
    const text = `${turns}${options.addGenerationPrompt ? "<assistant>" : ""}${options.variables?.suffix ?? ""}`;
    return { text, ids: textService.tokenizer.encode(text, false), templateMs: 0, tokeniseMs: 0 };
  },
  close: async () => {},
};

/** Answers "abc..." a token at a time; what it does besides is scripted by the test. */
export class ScriptedReplica implements Replica {
  readonly name = "scripted";
  readonly requests: GenerateRequest[] = [];
  running = 0;
  ready = true;
  /** Time between tokens; 0 is as fast as they are read. */
  tokenMs = 0;
  /** Thrown in place of the token with this index. */
  failure: { atToken: number; error: unknown } | undefined;
  /** Text of each token. */
  tokenText = (position: number): string => String.fromCharCode(97 + (position % 26));
  /** Tokens given out since the start. */
  tokens = 0;
  private changed = Promise.withResolvers<void>();

  async *generate(request: GenerateRequest, signal: AbortSignal): AsyncGenerator<GenerateEvent> {
    if (!this.ready) throw new ServeError("unavailable", "The server is draining.", { retryAfterS: 1 });
    this.requests.push(request);
    this.setRunning(1);
    try {
      const { promptTokenIds, sampling } = request;
      const logprob = (tokenId: number) => ({ tokenId, logprob: -0.5, rank: 1, top: [{ tokenId, logprob: -0.5 }] });
      const promptLogprobs =
        sampling.promptLogprobs === undefined
          ? undefined
          : Array.from(promptTokenIds, (id, position) => (position === 0 ? null : logprob(id)));
      yield { type: "prompt", cachedTokens: 3, promptLogprobs };
      for (let position = 0; position < sampling.maxTokens; position++) {
        for (let index = 0; index < request.n; index++) {
          if (this.tokenMs > 0) await this.pause(signal);
          if (signal.aborted) throw new ServeError("cancelled", "The request was cancelled.");
          if (this.failure?.atToken === position) throw this.failure.error;
          const tokenId = 97 + (position % 26);
          this.tokens++;
          const logprobs = sampling.logprobs === undefined ? undefined : [logprob(tokenId)];
          yield { type: "text-delta", index, text: this.tokenText(position), tokenIds: [tokenId], logprobs };
        }
      }
      for (let index = 0; index < request.n; index++) {
        yield {
          type: "end",
          index,
          finishReason: "length",
          stopReason: undefined,
          usage: { promptTokens: promptTokenIds.length, completionTokens: sampling.maxTokens, cachedTokens: 3 },
          timings: { arrivedMs: 10, scheduledMs: 12, firstTokenMs: 15, finishedMs: 19, preemptions: 1 },
        };
      }
    } finally {
      this.setRunning(-1);
    }
  }

  /** Resolves when `count` requests run. */
  async untilRunning(count: number): Promise<void> {
    while (this.running !== count) await this.changed.promise;
  }

  stats(): ReplicaStats {
    const counters = { promptTokens: 0, cachedTokens: 0, outputTokens: 0, preemptions: 0 };
    return { ready: this.ready, running: this.running, waiting: 0, kvBlocksTotal: 0, kvBlocksUsed: 0, ...counters };
  }

  async drain(): Promise<void> {
    this.ready = false;
    await this.untilRunning(0);
  }

  async close(): Promise<void> {}

  private setRunning(by: number): void {
    this.running += by;
    this.changed.resolve();
    this.changed = Promise.withResolvers();
  }

  private pause(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, this.tokenMs);
      signal.addEventListener("abort", done);
    });
  }
}

export const API_KEY = "sk-test";
export const MODEL = "scripted-model";
/** Tokens of the fixture's context. */
export const MAX_MODEL_LEN = 100_000;

export type LogLine = { level: LogLevel; message: string } & LogFields;

/** A gateway over one scripted replica, and what the RPC services need of a server. */
export function createFixture(
  limits: Partial<Limits> = {},
  options: { /** Everyone may pass. */ keyless?: boolean } = {},
): {
  deps: RpcDeps;
  replica: ScriptedReplica;
  logged: LogLine[];
} {
  const replica = new ScriptedReplica();
  const gateway = new Gateway();
  const model = { name: MODEL, createdS: 1_700_000_000, maxModelLen: MAX_MODEL_LEN, vocabSize: 256 };
  gateway.add({ ...model, text: textService, systemFingerprint: "fp_0123456789", generationDefaults: {} }, replica);
  const logged: LogLine[] = [];
  const log =
    (level: LogLine["level"]) =>
    (message: string, fields: LogFields = {}) =>
      void logged.push({ level, message, ...fields });
  const logger = { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") };
  const authentication = {
    authenticate(headers: Headers) {
      if (options.keyless) return { tenant: "" };
      const key = headers.get("authorization")?.replace(/^Bearer /, "") ?? headers.get("x-api-key");
      if (key !== API_KEY) throw new ServeError("unauthenticated", "A valid API key is required.");
      return { tenant: "tenant-a" };
    },
  };
  const all = { ...LIMITS, ...limits };
  const deps = {
    gateway,
    authentication,
    failedAttempts: new FailedAttempts(systemClock, all),
    browserGuard: new BrowserGuard({
      listenHost: "127.0.0.1",
      authenticated: !options.keyless,
      allowedHosts: [],
      corsOrigins: [],
    }),
    clock: systemClock,
    limits: all,
    lifecycle: new Lifecycle(),
    turns: new TurnBudget(systemClock, all),
    logger,
    refusals: new RefusalLog(logger, systemClock, all.refusalLinesPerSecond),
    descriptors: new DescriptorBound(processDescriptors(), all),
  };
  return { deps, replica, logged };
}
