import type { Clock } from "../core/clock.ts";
import {
  type Backend,
  BackendError,
  type BackendInfo,
  type BackendProfile,
  type SlotParams,
  type Ticket,
} from "./backend.ts";
import { type FakeFaults, FaultPlan } from "./fake-faults.ts";
import {
  type FakeModelConfig,
  FakeSampler,
  fakeLogprob,
  fakeRank,
  fakeTopId,
  firstAttended,
  kvEntry,
  mix,
} from "./fake-model.ts";
import { checkFakeSlot } from "./fake-slot.ts";
import { openFakeStep } from "./fake-step.ts";
import { StepResult, type StepSections } from "./step-layout.ts";

/** Plain data, so that it can be posted to a Worker. */
export interface FakeBackendConfig extends FakeModelConfig {
  readonly maxModelLen: number;
  readonly blockSize: number;
  readonly numBlocks: number;
  readonly maxNumSeqs: number;
  readonly maxBatchedTokens: number;
  readonly maxLogitRows: number;
  readonly cost: FakeCost;
  readonly faults?: FakeFaults;
}

/** Time of a step in ms: fixed + each token's + each thousand context tokens'. All 0: steps take no time. */
export interface FakeCost {
  readonly stepMs: number;
  readonly decodeMs: number;
  readonly prefillMs: number;
  readonly contextMs: number;
}

/**
 * A device without a device: deterministic, strict about the ABI, with a cost model on an injected clock. Tokens follow
 * from the contents of its KV memory (fake-model.ts). Reading memory that was never written is an error.
 */
export class FakeBackend implements Backend {
  readonly info: BackendInfo;
  readonly #config: FakeBackendConfig;
  readonly #clock: Clock;
  readonly #sleepUntil: (ms: number) => void;
  readonly #faults: FaultPlan;
  /** One entry a token: [numBlocks, blockSize]; 0 is memory never written. */
  readonly #kv: Int32Array;
  readonly #slots: (FakeSampler | undefined)[];
  /** Steps in flight, oldest first. */
  readonly #flights: {
    ticket: Ticket;
    result: StepResult;
    doneMs: number;
    ms: number;
    slots: Set<number>;
    fails: boolean;
  }[] = [];
  #nextTicket = 1;
  #lastDoneMs = 0;
  #stepMs = 0;
  #broken = false;
  #profile = { steps: 0, tokens: 0, stepNs: 0, idleNs: 0 };

  /** `sleepUntil` makes time pass on `clock`; by default it blocks the thread. */
  constructor(config: FakeBackendConfig, clock: Clock, sleepUntil: (ms: number) => void = blockUntil(clock)) {
    this.#config = config;
    this.#clock = clock;
    this.#sleepUntil = sleepUntil;
    this.#faults = new FaultPlan(config.faults);
    this.#kv = new Int32Array(config.numBlocks * config.blockSize);
    this.#slots = new Array(config.maxNumSeqs).fill(undefined);
    this.info = {
      name: "fake",
      device: "fake",
      vocabSize: config.vocabSize,
      maxModelLen: config.maxModelLen,
      blockSize: config.blockSize,
      numBlocks: config.numBlocks,
      maxNumSeqs: config.maxNumSeqs,
      maxBatchedTokens: config.maxBatchedTokens,
      maxLogitRows: config.maxLogitRows,
      kvBlockBytes: 4 * config.blockSize,
      weightBytes: 0,
      workspaceBytes: 0,
      numThreads: 1,
      slidingWindow: config.slidingWindow,
    };
  }

  setSlot(slot: number, params: SlotParams): void {
    if (this.#flights.some((flight) => flight.slots.has(slot))) {
      throw new BackendError(-6, `fake backend: slot ${slot} is in use by a step in flight`);
    }
    checkFakeSlot(params, this.info.vocabSize);
    this.#slots[slot] = new FakeSampler({
      ...params,
      promptTokens: params.promptTokens.slice(),
      outputTokens: params.outputTokens.slice(),
    });
  }

  submit(packed: Int32Array): Ticket {
    if (this.#broken) throw new BackendError(-6, "fake backend: reset it first");
    if (this.#flights.length >= 2) throw new BackendError(-6, "fake backend: two steps are in flight");
    const step = openFakeStep(packed, this.info);
    const fault = this.#faults.next(step);
    if (fault === "submit") this.#break("fake backend: an injected fault");
    const result = this.#compute(step);
    const now = this.#clock.nowMs();
    const startMs = Math.max(now, this.#lastDoneMs);
    if (this.#flights.length === 0 && this.#lastDoneMs > 0) this.#profile.idleNs += (startMs - this.#lastDoneMs) * 1e6;
    const ms = this.#costMs(step);
    this.#lastDoneMs = startMs + ms;
    this.#profile.steps++;
    this.#profile.tokens += step.numTokens;
    this.#profile.stepNs += ms * 1e6;
    const ticket = this.#nextTicket++;
    const slots = new Set(step.rowSlots);
    for (const id of step.inputIds) if (id < 0) slots.add(-1 - id);
    this.#flights.push({ ticket, result, doneMs: this.#lastDoneMs, ms, slots, fails: fault === "wait" });
    return ticket;
  }

  wait(ticket: Ticket, result: Int32Array): void {
    if (this.#broken) throw new BackendError(-6, "fake backend: reset it first");
    const flight = this.#flights[0];
    if (flight?.ticket !== ticket) throw new BackendError(-6, `fake backend: ticket ${ticket} is not next`);
    if (this.#clock.nowMs() < flight.doneMs) this.#sleepUntil(flight.doneMs);
    this.#stepMs += flight.ms;
    if (flight.fails) this.#break("fake backend: an injected fault");
    this.#flights.shift();
    const { words } = flight.result;
    if (result.length !== words.length) throw new BackendError(-1, "fake backend: the result has another length");
    result.set(words);
  }

  reset(): void {
    this.#flights.length = 0;
    this.#slots.fill(undefined);
    // A fault may have left anything in memory.
    if (this.#broken) this.#kv.fill(0);
    this.#broken = false;
  }

  touch(_numBlocks: number, from: number, _most: number): number {
    if (this.#flights.length > 0) throw new BackendError(-6, "fake backend: a step is in flight");
    return from;
  }

  release(firstBlock: number, numBlocks: number): void {
    if (this.#flights.length > 0) throw new BackendError(-6, "fake backend: a step is in flight");
    const { blockSize } = this.#config;
    this.#kv.fill(0, firstBlock * blockSize, (firstBlock + numBlocks) * blockSize);
  }

  stepMs(): number {
    return this.#stepMs;
  }

  profile(_enable: boolean): BackendProfile {
    return { ...this.#profile, stages: {} };
  }

  close(): void {
    this.#broken = true;
  }

  #break(message: string): never {
    this.#broken = true;
    throw new BackendError(this.#faults.status, message);
  }

  #compute(step: StepSections): StepResult {
    const { blockSize } = this.#config;
    for (let i = 0; i < step.copies.length; i += 2) {
      const source = step.copies[i]! * blockSize;
      this.#kv.copyWithin(step.copies[i + 1]! * blockSize, source, source + blockSize);
    }
    const maxTop = step.rowTops.reduce((most, top) => Math.max(most, top), 0);
    const result = new StepResult(step.numRows, maxTop);
    let row = 0;
    for (let s = 0; s < step.numSeqs; s++) row = this.#sequence(step, s, row, result);
    return result;
  }

  /** Computes one sequence's tokens and their rows; returns the next row. */
  #sequence(step: StepSections, s: number, firstRow: number, result: StepResult): number {
    let row = firstRow;
    let fold: number | undefined;
    let dropped = false;
    for (let t = step.cuSeqlens[s]!; t < step.cuSeqlens[s + 1]!; t++) {
      const position = step.positions[t]!;
      // Behind a window the fold starts at another position for each token; without one it goes on from token to token.
      if (fold === undefined || this.#config.slidingWindow > 0) fold = this.#attend(step, s, position);
      const token = this.#inputToken(step, t);
      const entry = kvEntry(fold, token, position);
      this.#kv[step.slotMapping[t]!] = entry;
      fold = mix(fold, entry);
      if (step.rowTokens[row] === t) {
        if (dropped && step.rowTargets[row]! < 0) result.words[row] = -1;
        else dropped = !this.#row(step, row, fold, token, result) || dropped;
        row++;
      }
    }
    return row;
  }

  #attend(step: StepSections, s: number, position: number): number {
    const { blockSize } = this.#config;
    const table = s * step.tableStride;
    let fold = this.#config.seed;
    for (let p = firstAttended(this.#config, position); p < position; p++) {
      const entry = this.#kv[step.blockTables[table + ((p / blockSize) | 0)]! * blockSize + (p % blockSize)]!;
      if (entry === 0) throw new BackendError(-1, `fake backend: KV of position ${p} was never written`);
      fold = mix(fold, entry);
    }
    return fold;
  }

  #inputToken(step: StepSections, t: number): number {
    const id = step.inputIds[t]!;
    if (id >= 0) return id;
    const last = this.#slots[-1 - id]?.last ?? -1;
    if (last < 0) throw new BackendError(-1, `fake backend: slot ${-1 - id} has sampled nothing`);
    return last;
  }

  /** Fills a row of the result. False when its draft was not accepted: the rows after it are dropped. */
  #row(step: StepSections, r: number, fold: number, input: number, result: StepResult): boolean {
    const { words, maxTop } = result;
    const target = step.rowTargets[r]!;
    const top = step.rowTops[r]!;
    let token = target;
    if (target < 0) {
      const sampler = this.#slots[step.rowSlots[r]!];
      if (!sampler) throw new BackendError(-1, `fake backend: slot ${step.rowSlots[r]} was never set`);
      token = sampler.sample(this.#config, fold, input);
    }
    words[r] = token;
    if (top >= 0) {
      words[result.ranks + r] = fakeRank(fold, token);
      words[result.logprobs + r] = bits(fakeLogprob(fold, token));
    }
    for (let k = 0; k < maxTop; k++) {
      const id = k < top ? fakeTopId(this.#config, fold, k) : -1;
      words[result.topIds + r * maxTop + k] = id;
      words[result.topLogprobs + r * maxTop + k] = k < top ? bits(fakeLogprob(fold, id)) : 0;
    }
    const draft = step.rowDrafts[r]!;
    return draft < 0 || draft === token;
  }

  #costMs(step: StepSections): number {
    const { stepMs, decodeMs, prefillMs, contextMs } = this.#config.cost;
    let ms = stepMs;
    for (let s = 0; s < step.numSeqs; s++) {
      const count = step.cuSeqlens[s + 1]! - step.cuSeqlens[s]!;
      ms += count === 1 ? decodeMs : count * prefillMs;
      ms += (count * (step.contextLens[s]! - count / 2) * contextMs) / 1000;
    }
    return ms;
  }
}

const floats = new Float32Array(1);
const words = new Int32Array(floats.buffer);

function bits(value: number): number {
  floats[0] = value;
  return words[0]!;
}

function blockUntil(clock: Clock): (ms: number) => void {
  const never = new Int32Array(new SharedArrayBuffer(4));
  return (ms) => void Atomics.wait(never, 0, 0, Math.max(0, ms - clock.nowMs()));
}
