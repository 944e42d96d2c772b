import type { FakeBackendConfig } from "../../src/backend/fake-backend.ts";
import { referenceOutput } from "../../src/backend/fake-model.ts";
import { choiceSeed } from "../../src/core/sampling-params.ts";
import type { EngineOptions } from "../../src/engine/engine-options.ts";
import type { EngineSampling } from "../../src/engine/sequence.ts";
import { Random } from "./random.ts";

/** A request of a scenario, with the only output it may have. */
export interface SimRequest {
  readonly atMs: number;
  readonly prompt: Int32Array;
  readonly sampling: EngineSampling;
  readonly n: number;
  readonly priority: number;
  readonly tenant: string;
  readonly deadlineInMs: number | undefined;
  /** Tokens it brings from elsewhere. */
  readonly resumed: number;
  /** It is aborted after this long; undefined: never. */
  readonly abortAfterMs: number | undefined;
  /** By choice: its whole output, resumed tokens included. */
  readonly expected: readonly (readonly number[])[];
  readonly poison: boolean;
}

export interface Scenario {
  readonly seed: number;
  readonly backend: FakeBackendConfig;
  readonly options: EngineOptions;
  readonly requests: readonly SimRequest[];
}

/** Draws everything about a run from its seed. */
export function makeScenario(seed: number): Scenario {
  const random = new Random(seed);
  const backend = drawBackend(random, seed);
  const maxDrafts = random.chance(0.3) ? random.integer(1, 6) : 0;
  const options: EngineOptions = {
    maxNumSeqs: random.integer(1, backend.maxNumSeqs),
    maxNumBatchedTokens: backend.maxBatchedTokens,
    maxQueue: random.chance(0.1) ? random.integer(1, 8) : 10_000,
    itlTargetMs: random.chance(0.3) ? random.integer(2, 40) : 0,
    prefixCaching: random.chance(0.7),
    sharePrefixCache: random.chance(0.5),
    asyncScheduling: random.chance(0.7),
    speculativeTokens: maxDrafts,
    kvIdleTimeoutMs: random.pick([0, 1, 30, 1e6]),
    hashSeed: seed,
  };
  const requests = drawRequests(random, backend);
  return { seed, backend: withFaults(random, backend, requests), options, requests };
}

function drawBackend(random: Random, seed: number): FakeBackendConfig {
  const blockSize = random.pick([8, 16]);
  const maxModelLen = random.pick([64, 128, 256]);
  // From just one sequence's worth to plenty.
  const needed = Math.ceil(maxModelLen / blockSize);
  const numBlocks = random.chance(0.6) ? random.integer(needed, 3 * needed) : random.integer(needed, 20 * needed);
  return {
    seed,
    vocabSize: random.pick([50, 1000, 50_000]),
    slidingWindow: random.chance(0.2) ? random.integer(1, 60) : 0,
    predictability: random.pick([0, 0.2, 0.9]),
    maxModelLen,
    blockSize,
    numBlocks,
    maxNumSeqs: random.integer(1, 24),
    maxBatchedTokens: random.pick([24, 32, 64, 256]),
    maxLogitRows: random.integer(24, 64),
    cost: {
      stepMs: random.next() * 2,
      decodeMs: random.next() * 0.2,
      prefillMs: 0.01 + random.next() * 0.2,
      contextMs: random.next() * 0.2,
    },
  };
}

function drawRequests(random: Random, backend: FakeBackendConfig): SimRequest[] {
  const count = random.integer(1, 60);
  const gapMs = random.pick([0, 1, 10, 100]);
  const abortRate = random.pick([0, 0.1, 0.7]);
  const priorities = random.pick([[0], [0, 0, 1], [-5, 0, 7]]);
  const tenants = random.pick([[""], ["a", "b"], ["a", "b", "c", "d"]]);
  const prefixes = Array.from({ length: random.integer(1, 4) }, () =>
    drawTokens(random, backend, random.integer(1, backend.maxModelLen - 2)),
  );
  const requests: SimRequest[] = [];
  let atMs = 0;
  for (let i = 0; i < count; i++) {
    atMs += gapMs === 0 ? 0 : random.exponential(gapMs);
    requests.push(
      drawRequest(random, backend, atMs, prefixes, abortRate, random.pick(priorities), random.pick(tenants)),
    );
  }
  return requests;
}

function drawRequest(
  random: Random,
  backend: FakeBackendConfig,
  atMs: number,
  prefixes: readonly Int32Array[],
  abortRate: number,
  priority: number,
  tenant: string,
): SimRequest {
  const most = backend.maxModelLen - 1;
  let prompt = drawTokens(random, backend, random.integer(1, random.chance(0.5) ? Math.min(20, most) : most));
  if (random.chance(0.5)) {
    const prefix = random.pick(prefixes);
    prompt = Int32Array.from([...prefix, ...prompt]).slice(0, Math.max(1, most - random.integer(0, 20)));
  }
  const sampling = drawSampling(random, backend, prompt.length);
  const n = random.chance(0.2) ? random.integer(2, 6) : 1;
  const outputs = Array.from({ length: n }, (_, index) => expectedOutput(backend, prompt, sampling, index));
  return {
    atMs,
    prompt,
    sampling,
    n,
    priority,
    tenant,
    deadlineInMs: random.chance(0.1) ? random.next() * 200 : undefined,
    resumed: n === 1 && random.chance(0.1) ? random.integer(0, outputs[0]!.length) : 0,
    abortAfterMs: random.chance(abortRate) ? random.next() * 100 : undefined,
    expected: outputs,
    poison: false,
  };
}

function drawSampling(random: Random, backend: FakeBackendConfig, promptLength: number): EngineSampling {
  const penalties = random.chance(0.3);
  return {
    maxTokens: random.integer(1, Math.min(60, backend.maxModelLen - promptLength)),
    minTokens: random.chance(0.2) ? random.integer(1, 20) : 0,
    temperature: random.chance(0.5) ? 1 : 0,
    topK: 0,
    topP: 1,
    minP: 0,
    seed: random.integer(0, 2 ** 31),
    presencePenalty: penalties ? 0.5 : 0,
    frequencyPenalty: 0,
    repetitionPenalty: penalties && random.chance(0.5) ? 1.2 : 1,
    logitBias: random.chance(0.1) ? [[random.integer(0, backend.vocabSize - 1), 2]] : [],
    stopIds: drawTokens(random, backend, random.integer(0, 4)),
    logprobs: random.chance(0.2) ? random.integer(0, 3) : -1,
    promptLogprobs: random.chance(0.1) ? random.integer(0, 3) : -1,
  };
}

function drawTokens(random: Random, backend: FakeBackendConfig, length: number): Int32Array {
  return Int32Array.from({ length }, () => random.integer(0, backend.vocabSize - 1));
}

function expectedOutput(backend: FakeBackendConfig, prompt: Int32Array, sampling: EngineSampling, index: number) {
  const params = {
    ...sampling,
    seed: choiceSeed(sampling.seed, index),
    promptTokens: prompt,
    outputTokens: new Int32Array(0),
  };
  return referenceOutput(backend, params, sampling.maxTokens);
}

/** Some runs lose steps; in some a request poisons every step that reads one of its tokens. */
function withFaults(random: Random, backend: FakeBackendConfig, requests: SimRequest[]): FakeBackendConfig {
  if (random.chance(0.25)) {
    // At most two in a row, then long enough for everything to get past them.
    const failSteps: number[] = [];
    for (let step = random.integer(1, 40); step < 2000; step += random.integer(60, 300)) {
      failSteps.push(step);
      if (random.chance(0.5)) failSteps.push(step + 1);
    }
    return { ...backend, faults: { failSteps, seed: backend.seed } };
  }
  if (random.chance(0.1)) {
    const used = new Set(requests.flatMap(({ prompt, expected }) => [...prompt, ...expected.flat()]));
    let poisonToken = 0;
    while (used.has(poisonToken)) poisonToken++;
    if (poisonToken >= backend.vocabSize) return backend;
    const at = random.integer(0, requests.length - 1);
    const victim = requests[at]!;
    const prompt = victim.prompt.slice();
    prompt[random.integer(0, prompt.length - 1)] = poisonToken;
    requests[at] = { ...victim, prompt, poison: true, resumed: 0, expected: victim.expected.map(() => []) };
    return { ...backend, faults: { poisonToken } };
  }
  return backend;
}
