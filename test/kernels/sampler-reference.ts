/** The sampler of scalellm.h in float64, plainly: the order of operations is the documentation's. */
import type { SlotParams } from "../../src/backend/backend.ts";

const MASK32 = 0xffffffffn;

/** Philox4x32-10 (Salmon et al. 2011), four words. */
export function philox(counter: readonly bigint[], key: readonly bigint[]): bigint[] {
  let [c0, c1, c2, c3] = counter as [bigint, bigint, bigint, bigint];
  let [k0, k1] = key as [bigint, bigint];
  for (let round = 0; round < 10; round++) {
    const a = 0xd2511f53n * c0;
    const b = 0xcd9e8d57n * c2;
    [c0, c1, c2, c3] = [(b >> 32n) ^ c1 ^ k0, b & MASK32, (a >> 32n) ^ c3 ^ k1, a & MASK32];
    k0 = (k0 + 0x9e3779b9n) & MASK32;
    k1 = (k1 + 0xbb67ae85n) & MASK32;
  }
  return [c0, c1, c2, c3];
}

export function uniform(seed: number | bigint, position: number): number {
  const [s, p] = [BigInt.asUintN(64, BigInt(seed)), BigInt(position)];
  const [high, low] = philox([p & MASK32, p >> 32n, 0n, 0n], [s & MASK32, s >> 32n]);
  return Number(((high! << 32n) | low!) >> 11n) * 2 ** -53;
}

/** Logits after bias, penalties and min_tokens. */
export function adjusted(logits: Float32Array, p: SlotParams, position: number): Float64Array {
  const x = Float64Array.from(logits);
  for (const [id, value] of p.logitBias) x[id]! += value;
  const outputs = new Map<number, number>();
  for (const id of p.outputTokens) outputs.set(id, (outputs.get(id) ?? 0) + 1);
  for (const id of new Set([...p.promptTokens, ...p.outputTokens])) {
    x[id] = x[id]! > 0 ? x[id]! / p.repetitionPenalty : x[id]! * p.repetitionPenalty;
  }
  for (const [id, count] of outputs) x[id]! -= p.frequencyPenalty * count + p.presencePenalty;
  if (position < p.minTokens) for (const id of Array.from(p.stopIds)) x[id] = Number.NEGATIVE_INFINITY;
  return x;
}

/** Probabilities that the draw is made from, zero for tokens filtered away. */
export function distribution(logits: Float32Array, p: SlotParams, position: number): Float64Array {
  const x = adjusted(logits, p, position);
  const order = Array.from(x.keys()).sort((a, b) => x[b]! - x[a]! || a - b);
  const most = x[order[0]!]!;
  const weight = (id: number) => Math.exp((x[id]! - most) / p.temperature);
  const sum = (ids: readonly number[]) => ids.reduce((total, id) => total + weight(id), 0);
  let kept = p.topK > 0 ? order.slice(0, p.topK) : order;
  if (p.topP < 1) {
    const target = p.topP * sum(kept);
    let count = 0;
    for (let total = 0; count < kept.length && total < target; count++) total += weight(kept[count]!);
    kept = kept.slice(0, count);
  }
  kept = kept.filter((id) => weight(id) >= p.minP);
  const total = sum(kept);
  const out = new Float64Array(x.length);
  for (const id of kept) out[id] = weight(id) / total;
  return out;
}

export function logSoftmax(logits: Float32Array): Float64Array {
  const most = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const total = logits.reduce((a, b) => a + Math.exp(b - most), 0);
  return Float64Array.from(logits, (x) => x - most - Math.log(total));
}
