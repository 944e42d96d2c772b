import { join } from "node:path";
import type { FakeBackendConfig } from "../../src/backend/fake-backend.ts";
import { referenceOutput } from "../../src/backend/fake-model.ts";
import { locateLibrary } from "../../src/backend/library.ts";
import { systemClock } from "../../src/core/clock.ts";
import type { GenerateEvent, GenerateRequest } from "../../src/core/generate.ts";
import { choiceSeed, DEFAULT_SAMPLING, type SamplingParams } from "../../src/core/sampling-params.ts";
import { DEFAULT_ENGINE_OPTIONS, type EngineOptions } from "../../src/engine/engine-options.ts";
import { openModel } from "../../src/model/open-model.ts";
import { LocalReplica, type LocalReplicaOptions } from "../../src/replica/local.ts";
import { engineSampling } from "../../src/replica/to-engine.ts";
import type { Tokenizer } from "../../src/text/tokenizer.ts";

const encoder = new TextEncoder();
/** Token i is the word "<i> "; the last id of the vocabulary ends a generation. */
export const VOCAB_SIZE = 128;
export const EOS = VOCAB_SIZE - 1;
const BYTES = Array.from({ length: VOCAB_SIZE }, (_, id) => encoder.encode(`${id} `));

export const wordTokenizer: Tokenizer = {
  vocabSize: VOCAB_SIZE,
  bosTokenId: undefined,
  eosTokenIds: [EOS],
  encode: (text) => Int32Array.from(text.trim().split(" ").map(Number)),
  decode: (ids, skip) =>
    Array.from(ids)
      .filter((id) => !(skip && id === EOS))
      .map((id) => `${id} `)
      .join(""),
  tokenBytes: (id) => BYTES[id]!,
  tokenText: (id) => `${id} `,
  isSpecial: (id) => id === EOS,
};

export const FAKE: FakeBackendConfig = {
  seed: 42,
  vocabSize: VOCAB_SIZE,
  slidingWindow: 0,
  predictability: 0.3,
  maxModelLen: 512,
  blockSize: 8,
  numBlocks: 256,
  maxNumSeqs: 24,
  maxBatchedTokens: 128,
  maxLogitRows: 64,
  cost: { stepMs: 0, decodeMs: 0, prefillMs: 0, contextMs: 0 },
};

export interface StartOptions {
  fake?: Partial<FakeBackendConfig>;
  engine?: Partial<EngineOptions>;
  replica?: Partial<LocalReplicaOptions>;
}

export function startReplica({ fake, engine, replica }: StartOptions = {}): Promise<LocalReplica> {
  return LocalReplica.start({
    name: "test",
    backend: { kind: "fake", fake: { ...FAKE, ...fake } },
    engine: { ...DEFAULT_ENGINE_OPTIONS, maxNumSeqs: 16, maxNumBatchedTokens: 128, ...engine },
    tokenizer: wordTokenizer,
    clock: systemClock,
    ...replica,
  });
}

/** A replica over a real checkpoint, tiny, in a Worker. */
export async function startNative(onNotice: (message: string) => void = () => {}): Promise<LocalReplica> {
  const model = openModel(join(import.meta.dir, "../fixtures/goldens/tiny-llama"));
  const tokenizer: Tokenizer = { ...wordTokenizer, eosTokenIds: [], tokenText: () => "x", isSpecial: () => false };
  return LocalReplica.start({
    name: "tiny-llama",
    backend: {
      kind: "load",
      load: {
        plan: model.plan,
        libraryPath: await locateLibrary(),
        weightFormat: "auto",
        isa: "auto",
        numThreads: 2,
        kvDtype: "auto",
        blockSize: 16,
        kvCacheMemoryBytes: 0,
        maxModelLen: 256,
      },
    },
    engine: DEFAULT_ENGINE_OPTIONS,
    tokenizer,
    clock: systemClock,
    onNotice,
  });
}

let numRequests = 0;

export function makeRequest(
  prompt: ArrayLike<number>,
  sampling: Partial<SamplingParams> = {},
  rest: Partial<GenerateRequest> = {},
): GenerateRequest {
  return {
    id: `request-${++numRequests}`,
    model: "test",
    promptTokenIds: Int32Array.from(prompt),
    promptText: undefined,
    n: 1,
    sampling: { ...DEFAULT_SAMPLING, ...sampling },
    priority: 0,
    tenant: "",
    deadlineMs: undefined,
    resume: undefined,
    ...rest,
  };
}

/** The output that a request must have, computed without an engine. */
export function expectedOutput(request: GenerateRequest, index = 0, fake: Partial<FakeBackendConfig> = {}): number[] {
  const sampling = engineSampling(request.sampling, wordTokenizer.eosTokenIds);
  return referenceOutput(
    { ...FAKE, ...fake },
    {
      ...sampling,
      seed: choiceSeed(sampling.seed, index),
      promptTokens: request.promptTokenIds,
      outputTokens: new Int32Array(0),
    },
    sampling.maxTokens,
  );
}

export interface Collected {
  events: GenerateEvent[];
  /** By choice. */
  tokens: number[][];
  texts: string[];
  ends: Extract<GenerateEvent, { type: "end" }>[];
}

export async function collect(events: AsyncIterable<GenerateEvent>): Promise<Collected> {
  const collected: Collected = { events: [], tokens: [], texts: [], ends: [] };
  for await (const event of events) {
    collected.events.push(event);
    if (event.type === "text-delta") {
      (collected.tokens[event.index] ??= []).push(...event.tokenIds);
      collected.texts[event.index] = (collected.texts[event.index] ?? "") + event.text;
    } else if (event.type === "end") collected.ends[event.index] = event;
  }
  return collected;
}

/** Polls until `holds`; for states that follow within a step of the engine. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await Bun.sleep(1);
}

export const never = new AbortController().signal;

/**
 * What a promise rejects with. Not expect().rejects: that waits in a nested event loop, in which Bun dispatches no
 * messages of Workers.
 */
export function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => {
      throw new Error("it did not fail");
    },
    (error: unknown) => error,
  );
}

/** Every Worker made from now on, until disposed: a test can end one as a fault would. */
export function spyOnWorkers(): Disposable & { last(): Worker } {
  const Original = globalThis.Worker;
  const made: Worker[] = [];
  globalThis.Worker = class extends Original {
    constructor(...args: ConstructorParameters<typeof Original>) {
      super(...args);
      made.push(this);
    }
  };
  return {
    last: () => made.at(-1)!,
    [Symbol.dispose]: () => void (globalThis.Worker = Original),
  };
}
