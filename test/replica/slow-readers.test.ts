import { expect, test } from "bun:test";
import { LIMITS } from "../../src/config/limits.ts";
import type { GenerateEvent, GenerateRequest } from "../../src/core/generate.ts";
import type { LocalReplica } from "../../src/replica/local.ts";
import { collect, expectedOutput, makeRequest, never, startReplica, until } from "./fixture.ts";

const fake = { maxModelLen: 4096, numBlocks: 1024 };
const TOKENS = 1000;

function request(n = 1, rest: Partial<GenerateRequest> = {}): GenerateRequest {
  const sampling = { maxTokens: TOKENS, ignoreEos: true, logprobs: 5, temperature: 1, seed: 7 };
  return makeRequest([1, 2, 3, 4, 5], sampling, { n, ...rest });
}

/** Nothing runs and nothing waits, though requests have not ended. */
async function untilHeld(replica: LocalReplica): Promise<void> {
  const idle = () => {
    const { running, waiting, kvBlocksUsed } = replica.stats();
    return running === 0 && waiting === 0 && kvBlocksUsed === 0;
  };
  await until(() => replica.stats().outputTokens > 0 && idle());
}

const lengthOf = (event: GenerateEvent) => JSON.stringify(event).length;

test("nothing is computed for a reader that takes nothing, and its blocks are free; it then gets all, once", async () => {
  const replica = await startReplica({ fake });
  const asked = request(2);
  const events = replica.generate(asked, never)[Symbol.asyncIterator]();
  const read: GenerateEvent[] = [(await events.next()).value];
  await untilHeld(replica);
  const { outputTokens } = replica.stats();
  expect(outputTokens).toBeLessThan(TOKENS);
  // It stays so: others are served meanwhile.
  const other = await collect(replica.generate(makeRequest([9, 8], { maxTokens: 20, ignoreEos: true }), never));
  expect(other.tokens[0]!.length).toBe(20);
  expect(replica.stats().outputTokens).toBe(outputTokens + 20);

  let waiting = 0;
  for (let next = await events.next(); !next.done; next = await events.next()) {
    // A delta for each choice waited.
    if (read.length < 3) waiting += lengthOf(next.value);
    read.push(next.value);
  }
  expect(waiting).toBeLessThan(2 * LIMITS.maxWaitingOutputBytes);
  for (const index of [0, 1]) {
    const deltas = read.flatMap((event) => (event.type === "text-delta" && event.index === index ? [event] : []));
    const tokens = deltas.flatMap(({ tokenIds }) => tokenIds);
    expect(tokens).toEqual(expectedOutput(asked, index, fake));
    expect(deltas.flatMap(({ logprobs }) => logprobs!.map(({ tokenId }) => tokenId))).toEqual(tokens);
  }
  expect(read.filter(({ type }) => type === "prompt").length).toBe(1);
  expect(read.filter(({ type }) => type === "end").length).toBe(2);
  await replica.close();
});

test("a reader that takes what there is now and then is held again and again, and loses nothing", async () => {
  const replica = await startReplica({ fake });
  const asked = request(1, { maxWaitingBytes: 2000 });
  const tokens: number[] = [];
  let reads = 0;
  for await (const event of replica.generate(asked, never)) {
    if (event.type !== "text-delta") continue;
    tokens.push(...event.tokenIds);
    if (++reads % 2 === 0) await untilHeld(replica);
    if (reads > 30) break;
  }
  expect(tokens).toEqual(expectedOutput(asked, 0, fake).slice(0, tokens.length));
  expect(tokens.length).toBeGreaterThan(60);
  await replica.close();
});

test("an engine that dies while a request is held leaves it held; it then goes on with the new one", async () => {
  const notices: string[] = [];
  const onNotice = (message: string) => void notices.push(message);
  const replica = await startReplica({ fake: { ...fake, faults: { crashSteps: [350] } }, replica: { onNotice } });
  const asked = request();
  const events = replica.generate(asked, never)[Symbol.asyncIterator]();
  await events.next();
  await untilHeld(replica);
  const other = makeRequest([9, 8], { maxTokens: 400, ignoreEos: true });
  expect((await collect(replica.generate(other, never))).tokens[0]).toEqual(expectedOutput(other, 0, fake));
  expect(notices.length).toBe(1);
  await untilHeld(replica);
  const rest = await collect({ [Symbol.asyncIterator]: () => events });
  expect(rest.tokens[0]).toEqual(expectedOutput(asked, 0, fake));
  await replica.close();
});

test("a held request that is given up, or a replica that closes, leaves nothing", async () => {
  const replica = await startReplica({ fake });
  const aborter = new AbortController();
  const [first, second] = [request(), request()].map((asked, i) =>
    replica.generate(asked, i === 0 ? aborter.signal : never)[Symbol.asyncIterator](),
  );
  await Promise.all([first!.next(), second!.next()]);
  await untilHeld(replica);
  aborter.abort();
  await second!.return!();
  await replica.drain();
  await replica.close();
});
