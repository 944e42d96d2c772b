import { describe, expect, test } from "bun:test";
import { availableIsas, check, ISA_NAMES, STATUS, Struct, sl } from "./native-library.ts";
import { generator, integer, normals, seed } from "./random.ts";

const random = generator(seed);
const isas = availableIsas();
const SHAPES = [1, 2, 15, 16, 17, 31, 33, 64, 100, 576].map((cols) => [integer(1, 5, random), cols] as const);

/** Largest difference relative to the reference's largest value. */
function worst(out: Float32Array, reference: ArrayLike<number>): number {
  let most = 1e-30;
  let difference = 0;
  for (let i = 0; i < out.length; i++) {
    most = Math.max(most, Math.abs(reference[i]!));
    const d = Math.abs(out[i]! - reference[i]!);
    difference = Number.isNaN(d) ? Number.POSITIVE_INFINITY : Math.max(difference, d);
  }
  return difference / most;
}

describe.each(isas.map((isa) => [ISA_NAMES[isa]!, isa] as const))("%s", (_, isa) => {
  test.each(SHAPES)(`rms norm [%i, %i] (seed ${seed})`, (tokens, cols) => {
    const x = normals(tokens * cols, random, 3);
    const w = normals(cols, random);
    const y = new Float32Array(tokens * cols);
    check(sl.sl_op_rms_norm(new Struct("sl_op_rms_norm_args", { isa, tokens, cols, eps: 1e-5, x, w, y }).bytes));
    const reference = Float64Array.from(x, (value, i) => {
      const row = x.subarray(Math.floor(i / cols) * cols, (Math.floor(i / cols) + 1) * cols);
      const mean = row.reduce((sum, v) => sum + v * v, 0) / cols;
      return (value / Math.sqrt(mean + Math.fround(1e-5))) * w[i % cols]!;
    });
    expect(worst(y, reference)).toBeLessThan(1e-6);
  });

  test.each(SHAPES)(`silu times up [%i, %i] (seed ${seed})`, (tokens, cols) => {
    const gate = normals(tokens * cols, random, 20);
    gate[0] = -200;
    gate[gate.length - 1] = 200;
    const up = normals(tokens * cols, random);
    const y = new Float32Array(tokens * cols);
    check(sl.sl_op_silu_mul(new Struct("sl_op_silu_mul_args", { isa, tokens, cols, gate, up, y }).bytes));
    for (const [i, value] of y.entries()) {
      const exact = (gate[i]! / (1 + Math.exp(-gate[i]!))) * up[i]!;
      expect(Math.abs(value - exact)).toBeLessThanOrEqual(1e-6 * Math.abs(exact) + 1e-30);
    }
  });

  test.each([2, 6, 16, 32, 34, 64, 80, 128])(`rope of %i dimensions (seed ${seed})`, (headDim) => {
    const tokens = integer(1, 4, random);
    const numHeads = integer(1, 5, random);
    const half = headDim / 2;
    const invFreq = Float32Array.from({ length: half }, (_, i) => 1e4 ** (-i / half));
    const positions = Int32Array.from({ length: tokens }, () => integer(0, 100_000, random));
    const x = normals(tokens * numHeads * headDim, random);
    const before = Float64Array.from(x);
    const factor = Math.fround(1.2);
    const shape = { isa, tokens, num_heads: numHeads, head_dim: headDim, attention_factor: factor };
    check(sl.sl_op_rope(new Struct("sl_op_rope_args", { ...shape, inv_freq: invFreq, positions, x }).bytes));
    const reference = before.map((value, i) => {
      const d = i % headDim;
      const angle = positions[Math.floor(i / (numHeads * headDim))]! * invFreq[d % half]!;
      const other = d < half ? -before[i + half]! : before[i - half]!;
      return factor * (value * Math.cos(angle) + other * Math.sin(angle));
    });
    expect(worst(x, reference)).toBeLessThan(1e-6);
  });
});

test("an instruction set that the machine lacks is refused, an unknown one too", () => {
  const empty = new Float32Array(16);
  const status = (isa: number) =>
    sl.sl_op_silu_mul(
      new Struct("sl_op_silu_mul_args", { isa, tokens: 1, cols: 1, gate: empty, up: empty, y: empty }).bytes,
    );
  for (const isa of [1, 2, 3, 4, 5]) expect(status(isa)).toBe(isas.includes(isa) ? STATUS.ok : STATUS.unsupported);
  expect(status(6)).toBe(STATUS.argument);
  expect(status(-1)).toBe(STATUS.argument);
});
