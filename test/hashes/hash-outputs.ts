import { createHash, type Hash } from "node:crypto";
import type { Isa, KvDtype, WeightFormat } from "../../src/backend/abi.ts";
import { createNativeEngine } from "../../src/backend/native-backend.ts";
import { defaultKvDtype, freeNativeModel, loadNativeModel, type NativeModel } from "../../src/backend/native-model.ts";
import { systemClock } from "../../src/core/clock.ts";
import type { TokenLogprob } from "../../src/core/generate.ts";
import { Engine } from "../../src/engine/engine.ts";
import { DEFAULT_ENGINE_OPTIONS, type EngineOptions } from "../../src/engine/engine-options.ts";
import { floatBits } from "../../src/engine/step-message.ts";
import type { LoadPlan } from "../../src/model/spec.ts";
import { readStep } from "../../src/replica/step-reader.ts";
import { runStepWithLogits, type SequenceStep } from "../kernels/step.ts";
import { Random } from "../sim/random.ts";
import { makeRequests } from "./requests.ts";

const BLOCK_SIZE = 16;
const MAX_MODEL_LEN = 256;

/** A pair of formats that a model runs in. */
export interface Formats {
  readonly weights: WeightFormat;
  readonly kv: KvDtype | "auto";
}

/** What one instruction set makes of one model. */
export interface HashOptions {
  readonly libraryPath: string;
  readonly isa: Isa;
  /** Formats whose raw logits are hashed. Requests run in the first. */
  readonly formats: readonly Formats[];
  /** Tokens of the prompt whose logits are hashed. */
  readonly logitTokens: number;
  /** Requests in a batch. */
  readonly numRequests: number;
  /** How many of the ways to run them are tried. */
  readonly numEngines: number;
}

/** Ways to run the requests, one engine after the other. */
const ENGINES: readonly { options: Partial<EngineOptions>; numBlocks: number; waves: number }[] = [
  // In chunks; the second wave finds the prompts of the first in the cache.
  { options: { prefixCaching: true, maxNumBatchedTokens: 64 }, numBlocks: 512, waves: 2 },
  { options: {}, numBlocks: 512, waves: 1 },
  { options: { asyncScheduling: false, maxNumBatchedTokens: 37 }, numBlocks: 512, waves: 1 },
  { options: { speculativeTokens: 3 }, numBlocks: 512, waves: 1 },
  // Too few blocks for all: some are preempted.
  { options: { maxNumSeqs: 6 }, numBlocks: 20, waves: 1 },
];

/**
 * SHA-256 of the bits of everything a model says: raw logits, sampled tokens, log probabilities, ranks, alternatives,
 * prompt scores, finish reasons. Throws BackendError where the machine lacks the instruction set.
 */
export function hashOutputs(plan: LoadPlan, options: HashOptions): string {
  const hash = createHash("sha256");
  options.formats.forEach((formats, i) => {
    const { libraryPath, isa } = options;
    const model = loadNativeModel(plan, { libraryPath, isa, weightFormat: formats.weights, numThreads: 2 });
    const kv = formats.kv === "auto" ? defaultKvDtype(model, formats.weights) : formats.kv;
    try {
      hashLogits(hash, model, kv, options.logitTokens);
      const engines = i === 0 ? ENGINES.slice(0, options.numEngines) : [];
      for (const engine of engines) hashRequests(hash, model, kv, options.numRequests, engine);
    } finally {
      freeNativeModel(model);
    }
  });
  return hash.digest("hex");
}

/** Logits, scores and alternatives after every token of a prompt that comes in two chunks beside another sequence. */
function hashLogits(hash: Hash, model: NativeModel, kvDtype: KvDtype, numTokens: number): void {
  const random = new Random(numTokens);
  const numBlocks = Math.ceil(numTokens / BLOCK_SIZE);
  const backend = createNativeEngine(model, {
    numThreads: 2,
    blockSize: BLOCK_SIZE,
    numBlocks: numBlocks + 1,
    kvDtype,
    maxNumSeqs: 4,
    maxBatchedTokens: numTokens + 4,
    maxLogitRows: numTokens + 4,
    maxModelLen: MAX_MODEL_LEN,
  });
  try {
    const ids = Int32Array.from({ length: numTokens }, () => random.integer(0, model.vocabSize - 1));
    const blocks = Array.from({ length: numBlocks }, (_, i) => numBlocks - 1 - i);
    const other: SequenceStep = { ids: [1], start: 0, blocks: [numBlocks], rows: [{ token: 0, target: 0, top: 0 }] };
    const split = Math.floor(numTokens * 0.7);
    for (const [start, end] of [[0, split] as const, [split, numTokens] as const]) {
      const part = ids.subarray(start, end);
      const rows = Array.from(part, (target, token) => ({ token, target, top: token % 6 }));
      const { words, logits } = runStepWithLogits(backend, [other, { ids: part, start, blocks, rows }]);
      hash.update(words).update(logits);
    }
  } finally {
    backend.close();
  }
}

/** What an engine says of a batch of requests, each by itself: steps may be cut up in other ways. */
function hashRequests(
  hash: Hash,
  model: NativeModel,
  kvDtype: KvDtype,
  numRequests: number,
  { options, numBlocks, waves }: (typeof ENGINES)[number],
): void {
  const engineOptions: EngineOptions = { ...DEFAULT_ENGINE_OPTIONS, prefixCaching: false, ...options };
  const backend = createNativeEngine(model, {
    numThreads: 2,
    blockSize: BLOCK_SIZE,
    numBlocks,
    kvDtype,
    maxNumSeqs: engineOptions.maxNumSeqs + 8,
    maxBatchedTokens: engineOptions.maxNumBatchedTokens,
    maxLogitRows: 80,
    maxModelLen: Math.min(model.maxPositions, MAX_MODEL_LEN),
  });
  const said: number[][] = [];
  const note = (id: number, { logprob, rank, top }: TokenLogprob) => {
    said[id]!.push(floatBits(logprob), rank);
    for (const alternative of top) said[id]!.push(alternative.tokenId, floatBits(alternative.logprob));
  };
  try {
    const engine = new Engine(backend, engineOptions, systemClock, (message) =>
      readStep(message, {
        started() {},
        tokens(id, tokenIds, logprobs, finish) {
          tokenIds.forEach((token, i) => {
            said[id]!.push(token);
            if (logprobs) note(id, logprobs[i]!);
          });
          if (finish !== 0) said[id]!.push(finish);
        },
        promptScores(id, scores) {
          for (const score of scores) note(id, score);
        },
        preempted() {},
        failed(id, code) {
          throw new Error(`request ${id} failed with ${code}`);
        },
      }),
    );
    for (let wave = 0; wave < waves; wave++) {
      for (const { prompt, sampling } of makeRequests(model.vocabSize, numRequests)) {
        const choices = [{ id: said.length, index: 0, outputTokens: new Int32Array(0) }];
        said.push([]);
        engine.add({ type: "add", prompt, sampling, priority: 0, tenant: "", deadlineInMs: undefined, choices });
      }
      while (engine.runOnce()) engine.checkInvariants();
    }
  } finally {
    backend.close();
  }
  for (const words of said) hash.update(Int32Array.from(words));
}
