import { describe, expect, test } from "bun:test";
import { blockValues, gaussian, type Random, random, randomWeights, weightValues } from "./gguf-blocks";
import { availableIsas, Dtype, type IsaName, linear, Weights } from "./library";

const seed = Number(process.hrtime.bigint() & 0xffffffffn);
const isas = availableIsas();
const quantized = Object.entries(Dtype).filter(([name]) => name.startsWith("Q"));
const floats = Object.entries(Dtype).filter(([name]) => !name.startsWith("Q"));

/** Activations as a network has them: normal, with a few outliers. */
function activations(count: number, next: Random): Float32Array {
  return Float32Array.from({ length: count }, () => gaussian(next) * (next() < 0.01 ? 20 : 1));
}

interface Case {
  dtype: number;
  tokens: number;
  rows: number;
  cols: number;
  w: Uint8Array;
  x: Float32Array;
  values: Float64Array;
}

function makeCase(dtype: number, tokens: number, rows: number, cols: number, next: Random): Case {
  const w = randomWeights(dtype, rows * cols, next);
  return { dtype, tokens, rows, cols, w, x: activations(tokens * cols, next), values: weightValues(dtype, w) };
}

/** Calls visit(token, row, exact product, sum over columns of bound(column) * |w|). */
function reference(
  c: Case,
  bound: (token: number, column: number) => number,
  visit: (at: number, exact: number, bound: number) => void,
): void {
  for (let t = 0; t < c.tokens; t++) {
    for (let r = 0; r < c.rows; r++) {
      let sum = 0;
      let most = 0;
      for (let k = 0; k < c.cols; k++) {
        const w = c.values[r * c.cols + k]!;
        sum += w * c.x[t * c.cols + k]!;
        most += Math.abs(w) * bound(t, k);
      }
      visit(t * c.rows + r, sum, most);
    }
  }
}

/** Half a step of int8 in groups of 16: the most an activation moves when it is quantised. */
function halfStep(c: Case): (token: number, column: number) => number {
  const steps = new Float64Array(c.tokens * Math.ceil(c.cols / 16));
  const groups = Math.ceil(c.cols / 16);
  c.x.forEach((value, i) => {
    const at = Math.floor(i / c.cols) * groups + ((i % c.cols) >> 4);
    steps[at] = Math.max(steps[at]!, Math.abs(value) / 254);
  });
  return (t, k) => steps[t * groups + (k >> 4)]!;
}

function expectExact(c: Case, y: Float32Array): void {
  reference(
    c,
    (t, k) => Math.abs(c.x[t * c.cols + k]!),
    (at, exact, most) => {
      expect(Math.abs(y[at]! - exact)).toBeLessThanOrEqual(1e-6 * most);
    },
  );
}

/** Activations in int8: each product within its worst case, all together near the error expected of rounding. */
function expectQuantized(c: Case, y: Float32Array, weightError = 0): void {
  const half = halfStep(c);
  const bound = (t: number, k: number) => half(t, k) * 1.01 + (1e-5 + weightError) * Math.abs(c.x[t * c.cols + k]!);
  let error = 0;
  let expected = 0;
  reference(c, bound, (at, exact, most) => {
    expect(Math.abs(y[at]! - exact)).toBeLessThanOrEqual(most);
    error += (y[at]! - exact) ** 2;
    const t = Math.floor(at / c.rows);
    for (let k = 0; k < c.cols; k++) expected += (half(t, k) * c.values[(at % c.rows) * c.cols + k]!) ** 2 / 3;
  });
  // Rows with much in common share the error of their token: there may be no more independent errors than tokens.
  const spread = 1.5 + 4 / Math.sqrt(c.tokens);
  expect(Math.sqrt(error)).toBeLessThan(spread * Math.sqrt(expected));
}

const run = (c: Case, isa: IsaName, weightFormat: number, threads = 1): Float32Array =>
  linear({ ...c, isa, weightFormat, threads });

function token(c: Case, first: number, count: number): Case {
  return { ...c, tokens: count, x: c.x.slice(first * c.cols, (first + count) * c.cols) };
}

for (const isa of isas) {
  describe(`linear on ${isa} (seed ${seed})`, () => {
    for (const [name, dtype] of Object.entries(Dtype)) {
      test(`${name} in float32 agrees with float64`, () => {
        const next = random(seed);
        const unit = blockValues(dtype) === 1 ? 37 : blockValues(dtype);
        for (const [tokens, rows, cols] of [
          [1, 1, 1],
          [3, 17, 3],
          [17, 35, 5],
          [2, 64, 18],
        ] as const) {
          const c = makeCase(dtype, tokens, rows, cols * unit, next);
          expectExact(c, run(c, isa, Weights.F32));
        }
      });
    }

    for (const [name, dtype] of floats) {
      test(`${name} as it is agrees with float64`, () => {
        const next = random(seed + 1);
        for (const [tokens, rows, cols] of [
          [1, 16, 64],
          [5, 33, 160],
          [19, 31, 97],
        ] as const) {
          const c = makeCase(dtype, tokens, rows, cols, next);
          expectExact(c, run(c, isa, Weights.AUTO));
        }
      });
    }

    for (const [name, dtype] of quantized) {
      test(`${name} with int8 activations is within their rounding`, () => {
        const next = random(seed + 2);
        const unit = blockValues(dtype);
        for (const [tokens, rows, cols] of [
          [2, 40, 2],
          [4, 33, 3],
          [17, 19, 5],
          [64, 48, 6],
        ] as const) {
          const c = makeCase(dtype, tokens, rows, cols * unit, next);
          expectQuantized(c, run(c, isa, Weights.AUTO));
        }
      });
    }

    const formats = [
      ...Object.entries(Dtype).map(([name, dtype]) => [name, dtype, Weights.AUTO] as const),
      ["F32 to float32", Dtype.F32, Weights.F32] as const,
      ["F32 to bf16", Dtype.F32, Weights.BF16] as const,
      ["F32 to int8", Dtype.F32, Weights.INT8] as const,
    ];
    for (const [name, dtype, weightFormat] of formats) {
      test(`${name}: a token's result is bit-identical in any batch, on any threads`, () => {
        const cols = 512;
        const c = makeCase(dtype, 64, 49, cols, random(seed + 3));
        const whole = run(c, isa, weightFormat, 1);
        expect(run(c, isa, weightFormat, 2)).toEqual(whole);
        for (const [first, count] of [
          [0, 1],
          [63, 1],
          [5, 2],
          [9, 3],
          [20, 7],
          [30, 33],
        ] as const) {
          const part = run(token(c, first, count), isa, weightFormat, 1 + (first & 1));
          expect(part).toEqual(whole.slice(first * c.rows, (first + count) * c.rows));
        }
      });
    }
  });
}
