import { describe, expect, test } from "bun:test";
import { availableIsas, check, ISA_NAMES, STATUS, StatusError, Struct, sl } from "./native-library.ts";
import { generator, integer, normals, permutation, seed } from "./random.ts";

const random = generator(seed);
const isas = availableIsas();
const KV = { float32: 0, float16: 1, bfloat16: 2, int8: 3 } as const;
type Kv = keyof typeof KV;

interface Problem {
  numHeads: number;
  numKvHeads: number;
  headDim: number;
  context: number;
  queries: number;
  window: number;
  q: Float32Array;
  k: Float32Array;
  v: Float32Array;
}

function problem(shape: Omit<Problem, "q" | "k" | "v">): Problem {
  const { numHeads, numKvHeads, headDim, context, queries } = shape;
  return {
    ...shape,
    q: normals(queries * numHeads * headDim, random, 2),
    k: normals(context * numKvHeads * headDim, random),
    v: normals(context * numKvHeads * headDim, random),
  };
}

interface Options {
  isa: number;
  kv?: Kv;
  blockSize?: number;
  threads?: number;
  /** Spare blocks among which the table is scattered. */
  spare?: number;
}

function attend(p: Problem, { isa, kv = "float32", blockSize = 16, threads = 1, spare = 3 }: Options): Float32Array {
  const blocks = Math.ceil(p.context / blockSize);
  const out = new Float32Array(p.q.length).fill(Number.NaN);
  const args = new Struct("sl_op_attention_args", {
    isa,
    num_threads: threads,
    num_heads: p.numHeads,
    num_kv_heads: p.numKvHeads,
    head_dim: p.headDim,
    query_len: p.queries,
    context_len: p.context,
    window: p.window,
    kv_dtype: KV[kv],
    block_size: blockSize,
    q: p.q,
    k: p.k,
    v: p.v,
    block_table: permutation(blocks + spare, random).slice(0, blocks),
    out,
  });
  check(sl.sl_op_attention(args.bytes));
  return out;
}

/** What the cache holds for a head's vector, in float64. */
function stored(x: Float32Array, kv: Kv): Float64Array {
  if (kv === "float16") return Float64Array.from(new Float16Array(x));
  if (kv === "bfloat16") {
    const bits = new Uint32Array(x.slice().buffer).map((b) => (b + 0x7fff + ((b >>> 16) & 1)) & 0xffff0000);
    return Float64Array.from(new Float32Array(bits.buffer));
  }
  if (kv === "int8") {
    const scale = Math.fround(Math.max(...x.map(Math.abs)) / 127);
    return Float64Array.from(x, (value) => scale * roundEven(Math.fround(value * Math.fround(1 / scale))));
  }
  return Float64Array.from(x);
}

/** A query as it is multiplied: scaled, and rounded beside a bfloat16 cache. */
function scaled(q: Float32Array, kv: Kv): Float64Array {
  const factor = Math.fround(1 / Math.sqrt(q.length));
  return kv === "bfloat16"
    ? stored(
        q.map((value) => value * factor),
        kv,
      )
    : Float64Array.from(q, (value) => value / Math.sqrt(q.length));
}

function roundEven(x: number): number {
  const down = Math.floor(x);
  if (x - down !== 0.5) return Math.round(x);
  return down % 2 === 0 ? down : down + 1;
}

function reference(p: Problem, kv: Kv): Float64Array {
  const { numHeads, numKvHeads, headDim } = p;
  const row = (x: Float32Array, t: number, h: number) =>
    stored(x.slice((t * numKvHeads + h) * headDim, (t * numKvHeads + h + 1) * headDim), kv);
  const heads = Array.from({ length: numKvHeads }, (_, h) => ({
    k: Array.from({ length: p.context }, (_, t) => row(p.k, t, h)),
    v: Array.from({ length: p.context }, (_, t) => row(p.v, t, h)),
  }));
  const out = new Float64Array(p.q.length);
  for (let i = 0; i < p.queries; i++) {
    const position = p.context - p.queries + i;
    const first = p.window > 0 ? Math.max(0, position - p.window + 1) : 0;
    for (let h = 0; h < numHeads; h++) {
      const q = scaled(p.q.subarray((i * numHeads + h) * headDim, (i * numHeads + h + 1) * headDim), kv);
      const { k, v } = heads[Math.floor((h * numKvHeads) / numHeads)]!;
      const scores: number[] = [];
      for (let t = first; t <= position; t++) {
        scores.push(q.reduce((sum, x, d) => sum + x * k[t]![d]!, 0));
      }
      const most = Math.max(...scores);
      const weights = scores.map((s) => Math.exp(s - most));
      const total = weights.reduce((a, b) => a + b, 0);
      for (let d = 0; d < headDim; d++) {
        const sum = weights.reduce((acc, w, j) => acc + w * v[first + j]![d]!, 0);
        out[(i * numHeads + h) * headDim + d] = sum / total;
      }
    }
  }
  return out;
}

function worst(out: Float32Array, exact: Float64Array): number {
  return out.reduce((most, value, i) => Math.max(most, Number.isNaN(value) ? 1 : Math.abs(value - exact[i]!)), 0);
}

/** Softmax weights are rounded to bfloat16, too, where the cache is. */
const TOLERANCE: Record<Kv, number> = { float32: 1e-5, float16: 1e-5, bfloat16: 1e-2, int8: 1e-5 };

/** Shapes across tile (64), segment (256), block and group edges. */
function shapes(): Problem[] {
  // As many query heads a KV head as a multi-query model has.
  const cases = [problem({ numHeads: 48, numKvHeads: 1, headDim: 32, context: 70, queries: 3, window: 0 })];
  const groups = [
    [1, 1],
    [3, 3],
    [9, 3],
    [8, 1],
    [14, 2],
  ] as const;
  const contexts = [1, 2, 15, 16, 17, 63, 64, 65, 129, 255, 256, 257, 300];
  for (const context of contexts) {
    const [numHeads, numKvHeads] = groups[integer(0, groups.length - 1, random)]!;
    const headDim = [2, 8, 16, 20, 32, 64, 80, 128][integer(0, 7, random)]!;
    const queries = random() < 0.4 ? 1 : integer(1, Math.min(context, 40), random);
    const window = random() < 0.5 ? 0 : integer(1, context + 3, random);
    cases.push(problem({ numHeads, numKvHeads, headDim, context, queries, window }));
  }
  return cases;
}

const name = (p: Problem) =>
  `${p.numHeads}/${p.numKvHeads} heads of ${p.headDim}, ${p.queries} of ${p.context} positions, window ${p.window}, seed ${seed}`;

describe.each(isas.map((isa) => [ISA_NAMES[isa]!, isa] as const))("%s", (_, isa) => {
  test.each(Object.keys(KV) as Kv[])(`matches float64 with a %s cache (seed ${seed})`, (kv) => {
    for (const p of shapes()) {
      const blockSize = [8, 16, 32, 64, 256][integer(0, 4, random)]!;
      expect(worst(attend(p, { isa, kv, blockSize }), reference(p, kv)), name(p)).toBeLessThan(TOLERANCE[kv]);
    }
  });

  test(`blocks, threads and chunks never change a bit (seed ${seed})`, () => {
    for (const kv of Object.keys(KV) as Kv[]) {
      const window = random() < 0.5 ? 0 : integer(1, 500, random);
      const p = problem({ numHeads: 6, numKvHeads: 2, headDim: 48, context: 601, queries: 601, window });
      const whole = attend(p, { isa, kv });
      for (const blockSize of [8, 32, 256])
        expect(attend(p, { isa, kv, blockSize, threads: 2 }), name(p)).toEqual(whole);
      for (const queries of [1, 2, 30, 250]) {
        const q = p.q.slice(-queries * 6 * 48);
        expect(attend({ ...p, queries, q }, { isa, kv, spare: 20 }), name(p)).toEqual(whole.slice(-q.length));
      }
    }
  });
});

test("extreme scores stay finite", () => {
  for (const isa of isas) {
    const p = problem({ numHeads: 2, numKvHeads: 1, headDim: 16, context: 100, queries: 3, window: 0 });
    p.q.fill(1e4);
    p.k.forEach((_, i) => {
      p.k[i] = i % 32 < 16 ? 1e4 : -1e4;
    });
    expect(worst(attend(p, { isa }), reference(p, "float32"))).toBeLessThan(1e-5);
  }
});

test("bad arguments are refused by name", () => {
  const p = problem({ numHeads: 2, numKvHeads: 1, headDim: 16, context: 20, queries: 2, window: 0 });
  const message = (change: Partial<Problem>, blockSize = 16, kv = 0): [number, string] => {
    try {
      const bad = { ...p, ...change };
      attend(bad, { isa: 0, blockSize, kv: Object.keys(KV)[kv] as Kv });
      return [STATUS.ok, ""];
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      return [error.status, error.message];
    }
  };
  expect(message({ numHeads: 3, numKvHeads: 2 })).toEqual([STATUS.argument, expect.stringContaining("num_heads")]);
  expect(message({ queries: 21 })).toEqual([STATUS.argument, expect.stringContaining("query_len")]);
  expect(message({ window: -1 })).toEqual([STATUS.argument, expect.stringContaining("window")]);
  expect(message({}, 12)).toEqual([STATUS.argument, expect.stringContaining("block_size")]);
});
