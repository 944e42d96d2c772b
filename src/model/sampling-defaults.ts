import { problemOf, samplingField } from "../core/sampling-fields.ts";

/** Sampling parameters that a checkpoint may have an opinion on. */
export const CHECKPOINT_FIELDS = ["temperature", "topP", "topK", "minP", "repetitionPenalty"] as const;
export type SamplingDefaults = Partial<Record<(typeof CHECKPOINT_FIELDS)[number], number>>;

/**
 * The sampling defaults of a checkpoint. `read` gives what it says for a field: its own name for it and the value, as
 * found. A value that no request could ask for is left out, with a warning: it is no reason not to serve the model, and
 * must not make requests fail that do not name it.
 */
export function readSamplingDefaults(
  file: string,
  read: (field: keyof SamplingDefaults) => { readonly name: string; readonly value: unknown },
): { readonly defaults: SamplingDefaults; readonly warnings: readonly string[] } {
  const defaults: SamplingDefaults = {};
  const warnings: string[] = [];
  for (const field of CHECKPOINT_FIELDS) {
    const { name, value } = read(field);
    if (value === undefined || value === null) continue;
    const problem = typeof value === "number" ? problemOf(samplingField(field), value) : "must be a number";
    // Everywhere in this ecosystem -1 is "all of them".
    if (field === "topK" && value === -1) defaults.topK = 0;
    else if (problem === undefined) defaults[field] = value as number;
    else warnings.push(`${file}: ${name} is ${String(value).slice(0, 40)}, but ${problem}; it is ignored.`);
  }
  return { defaults, warnings };
}
