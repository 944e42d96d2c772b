import { StepLayout } from "../backend/step-layout.ts";
import type { BlockManager } from "./block-manager.ts";
import type { StepPlan } from "./step-plan.ts";

/** Writes steps into one growing buffer, which the backend may not keep. */
export class StepPacker {
  readonly #layout = new StepLayout();
  #buffer = new Int32Array(4096);

  /** The packed step; valid until the next call. */
  pack(plan: StepPlan, blocks: BlockManager): Int32Array {
    const { numSeqs, numTokens, numRows, seqs, copies } = plan;
    let stride = 0;
    for (let i = 0; i < numSeqs; i++) stride = Math.max(stride, blocks.blocksFor(plan.starts[i]! + plan.counts[i]!));
    const layout = this.#layout.layOut(numTokens, numSeqs, numRows, stride, copies.length / 2);
    if (this.#buffer.length < layout.numWords) this.#buffer = new Int32Array(2 * layout.numWords);
    const out = this.#buffer;
    layout.writeHeader(out);
    const { inputIds, positions, slotMapping, cuSeqlens, contextLens, blockTables } = layout;
    const { rowTokens, rowSlots, rowTargets, rowTops, rowDrafts } = layout;
    const blockSize = blocks.blockSize;
    let t = 0;
    let r = 0;
    for (let i = 0; i < numSeqs; i++) {
      const sequence = seqs[i]!;
      const { sampling } = sequence.group;
      const table = blocks.table(sequence.slot);
      const start = plan.starts[i]!;
      const count = plan.counts[i]!;
      const numDrafts = Math.max(0, plan.sampleRows[i]! - 1);
      const numKnown = Math.min(count - numDrafts, sequence.numTokens - start);
      out[cuSeqlens + i] = t;
      out[contextLens + i] = start + count;
      for (let j = 0; j < count; j++, t++) {
        const position = start + j;
        if (j < numKnown) out[inputIds + t] = sequence.tokens[position]!;
        else if (numDrafts > 0) out[inputIds + t] = plan.drafts[i * plan.maxDrafts + j - (count - numDrafts)]!;
        else out[inputIds + t] = -1 - sequence.slot;
        out[positions + t] = position;
        out[slotMapping + t] = table[(position / blockSize) | 0]! * blockSize + (position % blockSize);
      }
      const numBlocks = blocks.blocksFor(start + count);
      const row = blockTables + i * stride;
      // Entries past the context are not read, so what the last step left there may stay.
      copyWords(table, numBlocks, out, row);

      const first = t - count;
      for (let j = 0; j < plan.scoreRows[i]!; j++, r++) {
        const position = plan.scoreFrom[i]! + j;
        out[rowTokens + r] = first + position - start;
        out[rowSlots + r] = -1;
        out[rowTargets + r] = sequence.tokens[position + 1]!;
        out[rowTops + r] = sampling.promptLogprobs;
        out[rowDrafts + r] = -1;
      }
      for (let j = 0; j < plan.sampleRows[i]!; j++, r++) {
        out[rowTokens + r] = t - plan.sampleRows[i]! + j;
        out[rowSlots + r] = sequence.slot;
        out[rowTargets + r] = -1;
        out[rowTops + r] = sampling.logprobs;
        out[rowDrafts + r] = j < numDrafts ? plan.drafts[i * plan.maxDrafts + j]! : -1;
      }
    }
    out[cuSeqlens + numSeqs] = t;
    for (let i = 0; i < copies.length; i++) out[layout.copies + i] = copies[i]!;
    return out.subarray(0, layout.numWords);
  }

  /** Largest row_tops of a plan, at least 0: the M of the result's layout. */
  static maxTop(plan: StepPlan): number {
    let most = 0;
    for (let i = 0; i < plan.numSeqs; i++) {
      const { logprobs, promptLogprobs } = plan.seqs[i]!.group.sampling;
      if (plan.sampleRows[i]! > 0) most = Math.max(most, logprobs);
      if (plan.scoreRows[i]! > 0) most = Math.max(most, promptLogprobs);
    }
    return most;
  }
}

/** A loop of its own, since set() needs a subarray(), an object that the garbage collector has to look after. */
function copyWords(from: Int32Array, count: number, to: Int32Array, at: number): void {
  for (let i = 0; i < count; i++) to[at + i] = from[i]!;
}
