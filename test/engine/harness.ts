import type { Ticket } from "../../src/backend/backend.ts";
import { FakeBackend, type FakeBackendConfig } from "../../src/backend/fake-backend.ts";
import { referenceOutput } from "../../src/backend/fake-model.ts";
import { openStep, type StepSections } from "../../src/backend/step-layout.ts";
import { choiceSeed } from "../../src/core/sampling-params.ts";
import { Engine } from "../../src/engine/engine.ts";
import { DEFAULT_ENGINE_OPTIONS, type EngineOptions } from "../../src/engine/engine-options.ts";
import type { AddRequest } from "../../src/engine/messages.ts";
import type { EngineSampling } from "../../src/engine/sequence.ts";
import { readStep } from "../../src/replica/step-reader.ts";
import { VirtualClock } from "../sim/simulator.ts";
import { GREEDY } from "./fixture.ts";

export const MODEL: FakeBackendConfig = {
  seed: 3,
  vocabSize: 1000,
  slidingWindow: 0,
  predictability: 0,
  maxModelLen: 256,
  blockSize: 16,
  numBlocks: 64,
  maxNumSeqs: 12,
  maxBatchedTokens: 64,
  maxLogitRows: 16,
  cost: { stepMs: 1, decodeMs: 0.1, prefillMs: 0.1, contextMs: 0 },
};

export const SAMPLING: EngineSampling = { ...GREEDY, maxTokens: 8 };

/** Keeps every step that the engine submits, copied and opened. */
class RecordingBackend extends FakeBackend {
  readonly steps: StepSections[] = [];

  override submit(packed: Int32Array): Ticket {
    this.steps.push(openStep(packed.slice()));
    return super.submit(packed);
  }
}

export interface Outcome {
  tokens: number[];
  finish: number;
  failed: number;
  preemptions: number;
  cachedTokens: number;
  scores: number[];
}

/** An engine over the fake model, one turn at a time, with all that it says. */
export class Harness {
  readonly clock = new VirtualClock();
  readonly backend: RecordingBackend;
  readonly engine: Engine;
  readonly outcomes: Outcome[] = [];
  readonly #model: FakeBackendConfig;

  constructor(options: Partial<EngineOptions> = {}, model: Partial<FakeBackendConfig> = {}) {
    this.#model = { ...MODEL, ...model };
    this.backend = new RecordingBackend(this.#model, this.clock, this.clock.sleepUntil);
    const engineOptions = { ...DEFAULT_ENGINE_OPTIONS, maxNumSeqs: 8, maxNumBatchedTokens: 64, ...options };
    this.engine = new Engine(this.backend, engineOptions, this.clock, (message) => this.#read(message));
  }

  get steps(): readonly StepSections[] {
    return this.backend.steps;
  }

  /** Adds a request of `n` choices; returns the id of the first, the others follow. */
  add(
    prompt: number[],
    sampling: Partial<EngineSampling> = {},
    rest: Partial<AddRequest> & { n?: number } = {},
  ): number {
    const { n = 1, ...fields } = rest;
    const first = this.outcomes.length;
    const choices = Array.from({ length: n }, (_, index) => {
      this.outcomes.push({ tokens: [], finish: 0, failed: 0, preemptions: 0, cachedTokens: -1, scores: [] });
      return { id: first + index, index, outputTokens: new Int32Array(0) };
    });
    this.engine.add({
      type: "add",
      prompt: Int32Array.from(prompt),
      sampling: { ...SAMPLING, ...sampling },
      priority: 0,
      tenant: "",
      deadlineInMs: undefined,
      choices,
      ...fields,
    });
    return first;
  }

  turn(count = 1): void {
    for (let i = 0; i < count; i++) {
      this.engine.runOnce();
      this.engine.checkInvariants();
    }
  }

  finish(): void {
    while (this.engine.runOnce()) this.engine.checkInvariants();
  }

  expected(prompt: number[], sampling: Partial<EngineSampling> = {}, index = 0): number[] {
    const all = { ...SAMPLING, ...sampling };
    const params = {
      ...all,
      seed: choiceSeed(all.seed, index),
      promptTokens: Int32Array.from(prompt),
      outputTokens: new Int32Array(0),
    };
    return referenceOutput(this.#model, params, all.maxTokens);
  }

  #read(message: Int32Array): void {
    readStep(message, {
      started: (id, cachedTokens) => void (this.outcomes[id]!.cachedTokens = cachedTokens),
      tokens: (id, tokenIds, _logprobs, finish) => {
        this.outcomes[id]!.tokens.push(...tokenIds);
        this.outcomes[id]!.finish = finish;
      },
      promptScores: (id, scores) => void this.outcomes[id]!.scores.push(...scores.map(({ tokenId }) => tokenId)),
      preempted: (id) => void this.outcomes[id]!.preemptions++,
      failed: (id, code) => void (this.outcomes[id]!.failed = code),
    });
  }
}

/** Tokens of each sequence in a step, in order. */
export const shape = (step: StepSections): number[] =>
  Array.from({ length: step.numSeqs }, (_, s) => step.cuSeqlens[s + 1]! - step.cuSeqlens[s]!);
