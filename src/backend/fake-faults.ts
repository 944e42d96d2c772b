import { mix } from "./fake-model.ts";
import type { StepSections } from "./step-layout.ts";

/** Faults to inject. Plain data. */
export interface FakeFaults {
  /** Chance that a step fails, when submitted or when waited for; by a seeded draw. */
  readonly rate?: number;
  readonly seed?: number;
  /** Steps that fail, by number from 1. */
  readonly failSteps?: readonly number[];
  /** Status of those failures; -5 is sticky. */
  readonly status?: number;
  /** A step that reads this token id fails, every time. */
  readonly poisonToken?: number;
  /** A step that reads this token id throws what is no BackendError: the Worker dies of it. */
  readonly crashToken?: number;
  /** Steps that do so, by number from 1. */
  readonly crashSteps?: readonly number[];
}

/** Decides which steps fail, and where. */
export class FaultPlan {
  readonly status: number;
  readonly #faults: FakeFaults;
  #step = 0;

  constructor(faults: FakeFaults = {}) {
    this.#faults = faults;
    this.status = faults.status ?? -2;
  }

  /** Whether the next step fails, and in which call. */
  next(step: StepSections): "submit" | "wait" | undefined {
    const { rate = 0, seed = 0, failSteps, poisonToken, crashToken, crashSteps } = this.#faults;
    const number = ++this.#step;
    if (crashToken !== undefined && step.inputIds.includes(crashToken)) throw new Error("fake backend: a crash token");
    if (crashSteps?.includes(number)) throw new Error("fake backend: a crash");
    if (poisonToken !== undefined && step.inputIds.includes(poisonToken)) return "wait";
    const draw = mix(mix(seed, number), 99) >>> 0;
    if (failSteps?.includes(number) || draw / 2 ** 32 < rate) return draw & 1 ? "submit" : "wait";
    return undefined;
  }
}
