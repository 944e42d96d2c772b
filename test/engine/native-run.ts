import { createNativeEngine } from "../../src/backend/native-backend.ts";
import { defaultKvDtype, freeNativeModel, loadNativeModel, type NativeModel } from "../../src/backend/native-model.ts";
import { systemClock } from "../../src/core/clock.ts";
import { Engine } from "../../src/engine/engine.ts";
import { DEFAULT_ENGINE_OPTIONS, type EngineOptions } from "../../src/engine/engine-options.ts";
import type { EngineSampling } from "../../src/engine/sequence.ts";
import { openModel } from "../../src/model/open-model.ts";
import { readStep } from "../../src/replica/step-reader.ts";

/** A prompt and how to go on from it. */
export interface NativeRequest {
  readonly prompt: Int32Array;
  readonly sampling: EngineSampling;
}

export interface RunOptions {
  readonly threads?: number;
  readonly numBlocks?: number;
  readonly engine?: Partial<EngineOptions>;
  /** Passes between two waves, and the idle engine gives memory back meanwhile; 0: neither. */
  readonly restMs?: number;
}

/** Each token with its logprob and rank as text, so that a difference of one bit shows. */
export type Transcript = string[];

export interface RunResult {
  readonly transcripts: Transcript[];
  readonly preemptions: number;
  readonly cachedTokens: number;
  readonly draftTokens: number;
}

const BLOCK_SIZE = 16;

export function loadModel(place: string, libraryPath: string): NativeModel {
  return loadNativeModel(openModel(place).plan, { libraryPath, weightFormat: "auto" });
}

export const unload = freeNativeModel;

/** Runs requests to their ends in an engine of their own; `waves` run one after the other in the same engine. */
export function run(
  model: NativeModel,
  waves: readonly (readonly NativeRequest[])[],
  options: RunOptions = {},
): RunResult {
  const engineOptions: EngineOptions = { ...DEFAULT_ENGINE_OPTIONS, prefixCaching: false, ...options.engine };
  const backend = createNativeEngine(model, {
    numThreads: options.threads ?? 2,
    blockSize: BLOCK_SIZE,
    numBlocks: options.numBlocks ?? 1024,
    kvDtype: defaultKvDtype(model, "auto"),
    maxNumSeqs: 72,
    maxBatchedTokens: engineOptions.maxNumBatchedTokens,
    maxLogitRows: 80,
    maxModelLen: Math.min(model.maxPositions, 16 * BLOCK_SIZE),
  });
  try {
    return runEngine(backend, waves, engineOptions, options.restMs ?? 0);
  } finally {
    backend.close();
  }
}

function runEngine(
  backend: ReturnType<typeof createNativeEngine>,
  waves: readonly (readonly NativeRequest[])[],
  options: EngineOptions,
  restMs: number,
): RunResult {
  const transcripts: Transcript[] = [];
  let aheadMs = 0;
  const clock = { ...systemClock, nowMs: () => systemClock.nowMs() + aheadMs };
  const engine = new Engine(backend, options, clock, (message) =>
    readStep(message, {
      started() {},
      tokens(id, tokenIds, logprobs) {
        tokenIds.forEach((token, i) => {
          transcripts[id]!.push(`${token} ${logprobs![i]!.logprob} ${logprobs![i]!.rank}`);
        });
      },
      promptScores() {},
      preempted() {},
      failed(id, code) {
        throw new Error(`request ${id} failed with ${code}`);
      },
    }),
  );
  for (const [index, wave] of waves.entries()) {
    if (index > 0 && restMs > 0) {
      aheadMs += restMs;
      while (engine.rest() === 0) engine.checkInvariants();
    }
    for (const { prompt, sampling } of wave) {
      const choices = [{ id: transcripts.length, index: 0, outputTokens: new Int32Array(0) }];
      transcripts.push([]);
      engine.add({ type: "add", prompt, sampling, priority: 0, tenant: "", deadlineInMs: undefined, choices });
    }
    while (engine.runOnce()) engine.checkInvariants();
  }
  const { preemptions, cachedTokens, draftTokens } = engine.stats;
  return { transcripts, preemptions, cachedTokens, draftTokens };
}
