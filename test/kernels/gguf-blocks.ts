// Random weights of every storage type and their float64 values, written from the GGUF specification alone and in its
// words, so that the native dequantisers have something independent to agree with.
import { Dtype } from "./library";

export type Random = () => number;

/** mulberry32: a small seeded generator of [0, 1). */
export function random(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function gaussian(next: Random): number {
  return Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
}

export function float16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent ? sign * (1 + fraction / 1024) * 2 ** (exponent - 15) : sign * fraction * 2 ** -24;
}

const halfBits = new Uint16Array(1);
const halfValue = new Float16Array(halfBits.buffer);

/** The nearest binary16. */
function float16Bits(value: number): number {
  halfValue[0] = value;
  return halfBits[0]!;
}

export function float8e4m3(bits: number): number {
  const sign = bits & 0x80 ? -1 : 1;
  const exponent = (bits >> 3) & 15;
  const fraction = bits & 7;
  if (exponent === 15 && fraction === 7) return Number.NaN;
  return exponent ? sign * (1 + fraction / 8) * 2 ** (exponent - 7) : sign * fraction * 2 ** -9;
}

interface Block {
  values: number;
  bytes: number;
  /** Offsets of binary16 scales, which random bytes would make absurd. */
  halves: number[];
  decode(p: Uint8Array): number[];
}

const half = (p: Uint8Array, at: number): number => float16(p[at]! | (p[at + 1]! << 8));
const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const nibble32 = (p: Uint8Array, at: number, i: number): number => (i < 16 ? p[at + i]! & 15 : p[at + i - 16]! >> 4);
const bit = (p: Uint8Array, at: number, i: number): number => (p[at + (i >> 3)]! >> (i & 7)) & 1;

/** get_scale_min_k4 of the K types: 8 scales and 8 mins of 6 bits in 12 bytes. */
function scaleMinK4(q: Uint8Array, j: number): [number, number] {
  if (j < 4) return [q[j]! & 63, q[j + 4]! & 63];
  return [(q[j + 4]! & 15) | ((q[j - 4]! >> 6) << 4), (q[j + 4]! >> 4) | ((q[j]! >> 6) << 4)];
}

const blocks: Record<number, Block> = {
  [Dtype.F32]: {
    values: 1,
    bytes: 4,
    halves: [],
    decode: (p) => [new DataView(p.buffer, p.byteOffset).getFloat32(0, true)],
  },
  [Dtype.F16]: { values: 1, bytes: 2, halves: [0], decode: (p) => [half(p, 0)] },
  [Dtype.BF16]: {
    values: 1,
    bytes: 2,
    halves: [],
    decode: (p) => [new Float32Array(new Uint32Array([(p[0]! << 16) | (p[1]! << 24)]).buffer)[0]!],
  },
  [Dtype.F8_E4M3]: { values: 1, bytes: 1, halves: [], decode: (p) => [float8e4m3(p[0]!)] },
  [Dtype.Q8_0]: {
    values: 32,
    bytes: 34,
    halves: [0],
    decode: (p) => range(32).map((i) => half(p, 0) * ((p[2 + i]! << 24) >> 24)),
  },
  [Dtype.Q4_0]: {
    values: 32,
    bytes: 18,
    halves: [0],
    decode: (p) => range(32).map((i) => half(p, 0) * (nibble32(p, 2, i) - 8)),
  },
  [Dtype.Q4_1]: {
    values: 32,
    bytes: 20,
    halves: [0, 2],
    decode: (p) => range(32).map((i) => half(p, 0) * nibble32(p, 4, i) + half(p, 2)),
  },
  [Dtype.Q5_0]: {
    values: 32,
    bytes: 22,
    halves: [0],
    decode: (p) => range(32).map((i) => half(p, 0) * ((nibble32(p, 6, i) | (bit(p, 2, i) << 4)) - 16)),
  },
  [Dtype.Q5_1]: {
    values: 32,
    bytes: 24,
    halves: [0, 2],
    decode: (p) => range(32).map((i) => half(p, 0) * (nibble32(p, 8, i) | (bit(p, 4, i) << 4)) + half(p, 2)),
  },
  [Dtype.Q4_K]: {
    values: 256,
    bytes: 144,
    halves: [0, 2],
    decode: (p) =>
      range(256).map((i) => {
        const j = i >> 5;
        const byte = p[16 + 32 * (i >> 6) + (i & 31)]!;
        const [scale, min] = scaleMinK4(p.subarray(4, 16), j);
        return half(p, 0) * scale * (j & 1 ? byte >> 4 : byte & 15) - half(p, 2) * min;
      }),
  },
  [Dtype.Q5_K]: {
    values: 256,
    bytes: 176,
    halves: [0, 2],
    decode: (p) =>
      range(256).map((i) => {
        const j = i >> 5;
        const byte = p[48 + 32 * (i >> 6) + (i & 31)]!;
        const high = (p[16 + (i & 31)]! >> j) & 1;
        const [scale, min] = scaleMinK4(p.subarray(4, 16), j);
        return half(p, 0) * scale * ((j & 1 ? byte >> 4 : byte & 15) | (high << 4)) - half(p, 2) * min;
      }),
  },
  [Dtype.Q6_K]: {
    values: 256,
    bytes: 210,
    halves: [208],
    decode: (p) =>
      range(256).map((i) => {
        const n = i >> 7;
        const quarter = (i >> 5) & 3;
        const l = i & 31;
        const low = p[64 * n + (quarter & 1) * 32 + l]!;
        const high = (p[128 + 32 * n + l]! >> (2 * quarter)) & 3;
        const q = ((quarter < 2 ? low & 15 : low >> 4) | (high << 4)) - 32;
        return half(p, 208) * ((p[192 + 8 * n + 2 * quarter + (l >> 4)]! << 24) >> 24) * q;
      }),
  },
};

export const blockBytes = (dtype: number): number => blocks[dtype]!.bytes;
export const blockValues = (dtype: number): number => blocks[dtype]!.values;

/**
 * Random storage of numValues weights: any code, scales of either sign between 2^-10 and 2^-6, or half to one and a half
 * times `scale`. Without scales: F32, F16 and BF16 of about 1/16.
 */
export function randomWeights(dtype: number, numValues: number, next: Random, scale?: number): Uint8Array {
  const block = blocks[dtype]!;
  const out = new Uint8Array((numValues / block.values) * block.bytes);
  if (dtype === Dtype.F32) {
    new Float32Array(out.buffer).forEach((_, i, all) => {
      all[i] = gaussian(next) / 16;
    });
    return out;
  }
  for (let at = 0; at < out.length; at += block.bytes) {
    for (let i = 0; i < block.bytes; i++) out[at + i] = Math.floor(next() * 256);
    for (const offset of block.halves) {
      // Exponents 5..8 of binary16 and a random fraction.
      const magnitude =
        scale === undefined
          ? ((5 + Math.floor(next() * 4)) << 10) | Math.floor(next() * 1024)
          : float16Bits(scale * (0.5 + next()));
      const bits = (Math.floor(next() * 2) << 15) | magnitude;
      out[at + offset] = bits & 255;
      out[at + offset + 1] = bits >> 8;
    }
    if (dtype === Dtype.BF16) out[at + 1] = (Math.floor(next() * 2) << 7) | 0x3d; // +-(2^-5..2^-4)
    if (dtype === Dtype.F8_E4M3 && (out[at]! & 0x7f) > 0x40) out[at]! &= 0xbf; // below 2, never NaN
  }
  return out;
}

/** The weights' exact values. */
export function weightValues(dtype: number, data: Uint8Array): Float64Array {
  const block = blocks[dtype]!;
  const out = new Float64Array((data.length / block.bytes) * block.values);
  for (let i = 0; i * block.bytes < data.length; i++) {
    out.set(block.decode(data.subarray(i * block.bytes, (i + 1) * block.bytes)), i * block.values);
  }
  return out;
}
