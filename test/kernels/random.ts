/** Random numbers for kernel tests. The seed is fresh each run and part of every failure message. */
export const seed = Number(process.argv.find((a) => a.startsWith("--seed="))?.slice(7) ?? Date.now() % 2 ** 31);

/** Mulberry32. */
export function generator(from: number): () => number {
  let state = from >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function normals(count: number, random: () => number, scale = 1): Float32Array {
  return Float32Array.from(
    { length: count },
    () => scale * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()),
  );
}

export function integer(low: number, high: number, random: () => number): number {
  return low + Math.floor(random() * (high - low + 1));
}

export function permutation(count: number, random: () => number): Int32Array {
  const out = Int32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = integer(0, i, random);
    [out[i], out[j]] = [out[j] ?? 0, out[i] ?? 0];
  }
  return out;
}
