/**
 * A seeded 64-bit rolling hash of a chain of blocks, as two 32-bit halves so that no BigInt is made. It only finds
 * candidates: the prefix cache compares token ids in full before it believes a match.
 */
export class BlockHash {
  lo = 0;
  hi = 0;
  readonly #seed: number;

  constructor(seed: number) {
    this.#seed = seed | 0;
  }

  /** The hash of the empty prefix under a salt (one salt a tenant, so that chains of two tenants never meet). */
  start(salt: number): void {
    this.lo = Math.imul(this.#seed ^ 0x9e3779b9, 0x85ebca6b) ^ salt;
    this.hi = Math.imul(this.#seed + salt, 0xc2b2ae35) ^ 0x27d4eb2f;
  }

  resume(lo: number, hi: number): void {
    this.lo = lo;
    this.hi = hi;
  }

  /** Takes tokens [from, to). Murmur-style multiply and shift on two independent lanes. */
  update(tokens: Int32Array, from: number, to: number): void {
    let lo = this.lo;
    let hi = this.hi;
    for (let i = from; i < to; i++) {
      const token = tokens[i]!;
      lo = Math.imul(lo ^ token, 0x5bd1e995);
      lo ^= lo >>> 15;
      hi = Math.imul(hi + token, 0x2c1b3c6d);
      hi ^= hi >>> 13;
    }
    this.lo = lo | 0;
    this.hi = hi | 0;
  }
}
