import { DEFAULT_SAMPLING } from "../../src/core/sampling-params.ts";
import { type EngineSampling, type RequestGroup, Sequence } from "../../src/engine/sequence.ts";
import type { TenantAccount } from "../../src/engine/tenant-accounts.ts";
import { engineSampling } from "../../src/replica/to-engine.ts";

/** The most likely token each time, whatever it is. */
export const GREEDY: EngineSampling = engineSampling({ ...DEFAULT_SAMPLING, temperature: 0 }, []);

let numGroups = 0;
let numSequences = 0;

export const account = (tenant = "", salt = 0): TenantAccount => ({ tenant, salt, deficit: 0, numSequences: 1 });

export interface SequenceOptions {
  readonly account?: TenantAccount;
  readonly priority?: number;
  readonly maxTokens?: number;
  readonly deadlineMs?: number;
  readonly output?: ArrayLike<number>;
  /** The group of another choice. */
  readonly group?: RequestGroup;
}

/** A sequence as the engine makes them, in a group of its own unless one is given. */
export function makeSequence(prompt: ArrayLike<number>, options: SequenceOptions = {}): Sequence {
  const group: RequestGroup = options.group ?? {
    prompt: Int32Array.from(prompt),
    sampling: { ...GREEDY, maxTokens: options.maxTokens ?? 100 },
    priority: options.priority ?? 0,
    account: options.account ?? account(),
    arrival: numGroups++,
    arrivedMs: 0,
    deadlineMs: options.deadlineMs ?? Number.POSITIVE_INFINITY,
    choices: [],
  };
  const sequence = new Sequence(numSequences++, group, group.choices.length, Int32Array.from(options.output ?? []));
  group.choices.push(sequence);
  return sequence;
}

export const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);
