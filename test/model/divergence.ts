/** log of the sum of exp, in nats. */
export function logSumExp(logits: Float32Array): number {
  let max = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) if (logits[i]! > max) max = logits[i]!;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! - max);
  return max + Math.log(sum);
}

/** KL(p || q) of the softmaxes, in nats. */
export function divergence(p: Float32Array, q: Float32Array): number {
  const normP = logSumExp(p);
  const normQ = logSumExp(q);
  let sum = 0;
  for (let i = 0; i < p.length; i++) {
    const logP = p[i]! - normP;
    sum += Math.exp(logP) * (logP - q[i]! + normQ);
  }
  return sum;
}
