/**
 * Rotary position embedding (Su et al., arXiv 2104.09864) and its scalings, as inverse frequencies. Computed in float32
 * in the order that transformers' modeling_rope_utils computes them, so that angles agree at long positions.
 */
export type RopeScaling =
  | { readonly kind: "default" }
  /** Positions divided by a factor (Chen et al., arXiv 2306.15595). */
  | { readonly kind: "linear"; readonly factor: number }
  /** Llama 3.1: low frequencies divided, high ones kept, a ramp between. */
  | {
      readonly kind: "llama3";
      readonly factor: number;
      readonly lowFreqFactor: number;
      readonly highFreqFactor: number;
      readonly originalMaxPositions: number;
    }
  /** YaRN (Peng et al., arXiv 2309.00071). */
  | {
      readonly kind: "yarn";
      readonly factor: number;
      readonly originalMaxPositions: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      /** Round the ramp's ends outward to whole dimensions. */
      readonly truncate: boolean;
      /** Scale on cos and sin. */
      readonly attentionFactor: number;
    }
  /** A divisor for each frequency, as GGUF stores llama3 scaling (rope_freqs.weight). */
  | { readonly kind: "divisors"; readonly divisors: Float32Array };

export interface RopeConfig {
  readonly theta: number;
  readonly scaling: RopeScaling;
}

const f32 = Math.fround;

/** Inverse frequencies [headDim / 2] in float32. */
export function ropeInvFreq(headDim: number, rope: RopeConfig): Float32Array {
  const base = new Float32Array(headDim / 2);
  for (let i = 0; i < base.length; i++) base[i] = 1 / power(rope.theta, i, headDim);
  const scaling = rope.scaling;
  switch (scaling.kind) {
    case "default":
      return base;
    case "linear":
      return base.map((frequency) => frequency / scaling.factor);
    case "divisors":
      return base.map((frequency, i) => frequency / scaling.divisors[i]!);
    case "llama3":
      return base.map((frequency) => llama3Frequency(frequency, scaling));
    case "yarn":
      return yarnFrequencies(headDim, rope.theta, scaling);
  }
}

export function ropeAttentionFactor(scaling: RopeScaling): number {
  return scaling.kind === "yarn" ? scaling.attentionFactor : 1;
}

/** YaRN's scale on cos and sin where the checkpoint names none; mscale values are those of DeepSeek's checkpoints. */
export function yarnAttentionFactor(factor: number, mscale?: number, mscaleAllDim?: number): number {
  const at = (scale: number) => (factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1);
  return mscale && mscaleAllDim ? at(mscale) / at(mscaleAllDim) : at(1);
}

function power(theta: number, i: number, headDim: number): number {
  return f32(theta ** f32((2 * i) / headDim));
}

function llama3Frequency(frequency: number, scaling: Extract<RopeScaling, { kind: "llama3" }>): number {
  const { factor, lowFreqFactor, highFreqFactor, originalMaxPositions } = scaling;
  const wavelength = f32(f32(2 * Math.PI) / frequency);
  if (wavelength > originalMaxPositions / lowFreqFactor) return f32(frequency / factor);
  if (wavelength < originalMaxPositions / highFreqFactor) return frequency;
  const turns = f32(originalMaxPositions / wavelength);
  const smooth = f32(f32(turns - lowFreqFactor) / f32(highFreqFactor - lowFreqFactor));
  return f32(f32(f32(f32(1 - smooth) * frequency) / factor) + f32(smooth * frequency));
}

function yarnFrequencies(
  headDim: number,
  theta: number,
  scaling: Extract<RopeScaling, { kind: "yarn" }>,
): Float32Array {
  const { factor, originalMaxPositions, betaFast, betaSlow, truncate } = scaling;
  // The dimension whose wave turns this many times over the original context.
  const dimensionOf = (turns: number) =>
    (headDim * Math.log(originalMaxPositions / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  let low = dimensionOf(betaFast);
  let high = dimensionOf(betaSlow);
  if (truncate) {
    low = Math.floor(low);
    high = Math.ceil(high);
  }
  low = Math.max(low, 0);
  high = Math.min(high, headDim - 1);
  if (low === high) high += 0.001;

  const frequencies = new Float32Array(headDim / 2);
  for (let i = 0; i < frequencies.length; i++) {
    const wave = power(theta, i, headDim);
    const ramp = Math.min(1, Math.max(0, f32(f32(i - f32(low)) / f32(high - low))));
    const kept = f32(1 - ramp);
    const interpolated = f32(1 / f32(f32(factor) * wave));
    frequencies[i] = f32(interpolated * f32(1 - kept)) + f32(f32(1 / wave) * kept);
  }
  return frequencies;
}
