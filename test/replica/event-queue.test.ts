import { expect, test } from "bun:test";
import type { GenerateEvent } from "../../src/core/generate.ts";
import { EventQueue } from "../../src/replica/event-queue.ts";

function delta(index: number, tokenId: number, scored: boolean): GenerateEvent {
  const logprobs = scored ? [{ tokenId, logprob: -tokenId, rank: 1, top: [] }] : undefined;
  return { type: "text-delta", index, text: `<${tokenId}>`, tokenIds: [tokenId], logprobs };
}

test("what a slow reader has not taken is one delta a choice, whole and in order", async () => {
  const queue = new EventQueue(() => {});
  for (let tokenId = 0; tokenId < 1000; tokenId++) queue.push(delta(tokenId % 2, tokenId, tokenId % 2 === 1));
  for (const index of [0, 1]) {
    const { value } = await queue.next();
    const tokenIds = Array.from({ length: 500 }, (_, i) => 2 * i + index);
    expect(value).toMatchObject({ index, tokenIds, text: tokenIds.map((id) => `<${id}>`).join("") });
    const { logprobs } = value as Extract<GenerateEvent, { type: "text-delta" }>;
    expect(logprobs?.map(({ tokenId }) => tokenId)).toEqual(index === 1 ? tokenIds : undefined);
  }
  const waiting = queue.next();
  queue.push(delta(0, 7, false));
  expect((await waiting).value).toMatchObject({ tokenIds: [7] });
  queue.end();
  expect((await queue.next()).done).toBe(true);
});
