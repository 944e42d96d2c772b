import { expect, test } from "bun:test";
import type { SamplingParams } from "../../src/core/sampling-params.ts";
import {
  collect,
  expectedOutput,
  failureOf,
  makeRequest,
  never,
  startNative,
  startReplica,
  wordTokenizer,
} from "./fixture.ts";

const prompt = Array.from({ length: 20 }, (_, i) => i);

/** What the checks of the APIs keep out: the backend must be able to refuse it without harm to others. */
const REFUSED: ReadonlyArray<readonly [Partial<SamplingParams>, string]> = [
  [{ topP: 1e-46 }, "top_p"],
  [{ topP: 0 }, "top_p"],
  [{ minP: 1.5 }, "min_p"],
  [{ temperature: 1e39 }, "temperature"],
  [{ temperature: Number.NaN }, "temperature"],
  [{ repetitionPenalty: 1e-46 }, "repetition_penalty"],
  [{ frequencyPenalty: 1e39 }, "frequency_penalty"],
  [{ presencePenalty: Number.POSITIVE_INFINITY }, "presence_penalty"],
  [{ topK: -3 }, "top_k"],
  [{ logitBias: [[1, Number.NaN]] }, "logit_bias"],
  [{ logitBias: [[1e6, 1]] }, "logit_bias"],
  [{ stopTokenIds: [-7] }, "stop_token_ids"],
];

for (const [name, start] of [
  ["the fake backend", (onNotice: (message: string) => void) => startReplica({ replica: { onNotice } })],
  ["the native backend", startNative],
] as const) {
  test(`${name} refuses a slot: that request ends with the field, all others go on, no Worker dies`, async () => {
    const notices: string[] = [];
    const replica = await start((message) => notices.push(message));
    const sampling = { maxTokens: 100, temperature: 1, ignoreEos: true, seed: 3 };
    const alone = await collect(replica.generate(makeRequest(prompt, sampling), never));
    const beside = collect(replica.generate(makeRequest(prompt, sampling), never));
    for (let round = 0; round < 3; round++) {
      // Side by side, so that one step refuses several and still has others to admit.
      const refused = REFUSED.map(([bad]) =>
        failureOf(collect(replica.generate(makeRequest(prompt, { ...sampling, ...bad }, { n: 2 }), never))),
      );
      for (const [i, failure] of (await Promise.all(refused)).entries()) {
        expect(failure).toMatchObject({ code: "invalid_argument", param: REFUSED[i]![1], reason: "invalid_value" });
      }
    }
    expect((await beside).tokens).toEqual(alone.tokens);
    expect((await collect(replica.generate(makeRequest(prompt, sampling), never))).tokens).toEqual(alone.tokens);
    expect(notices.filter((notice) => notice.includes("failed"))).toEqual([]);
    expect(replica.stats()).toMatchObject({ ready: true, running: 0, waiting: 0 });
    expect(replica.stats().engine!.faults).toBe(0);
    await replica.close();
  });
}

test("what taking one request in throws ends that request alone", async () => {
  const notices: string[] = [];
  const replica = await startReplica({ replica: { onNotice: (message) => notices.push(message) } });
  const good = makeRequest(prompt, { maxTokens: 200, ignoreEos: true, temperature: 1 });
  const beside = collect(replica.generate(good, never));
  const garbage: Array<Parameters<typeof makeRequest>[2] & object> = [
    { promptTokenIds: { length: 3 } as unknown as Int32Array },
    { promptTokenIds: undefined as unknown as Int32Array },
    { sampling: { ...good.sampling, seed: 1.5 } },
    { sampling: { ...good.sampling, maxTokens: Number.NaN } },
    { sampling: { ...good.sampling, logitBias: 7 as never } },
    // Cannot even be posted to the engine.
    { sampling: { ...good.sampling, logitBias: [[1, (() => {}) as never]] } },
  ];
  for (const rest of garbage) {
    const failure = await failureOf((async () => collect(replica.generate(makeRequest(prompt, {}, rest), never)))());
    expect(failure).toBeInstanceOf(Error);
  }
  expect((await beside).tokens[0]).toEqual(expectedOutput(good));
  expect(notices).toEqual([]);
  expect(replica.stats()).toMatchObject({ ready: true, running: 0, waiting: 0 });
  await replica.close();
});

test("a text that cannot be made ends that request alone", async () => {
  const tokenText = (id: number) => {
    if (id === 101) throw new Error("no such text");
    return wordTokenizer.tokenText(id);
  };
  const replica = await startReplica({ replica: { tokenizer: { ...wordTokenizer, tokenText } } });
  const requests = Array.from({ length: 12 }, (_, seed) =>
    makeRequest(prompt, { maxTokens: 60, ignoreEos: true, temperature: 1, seed }),
  );
  const results = await Promise.all(
    requests.map((request) => collect(replica.generate(request, never)).catch((error: unknown) => error)),
  );
  const expected = requests.map((request) => expectedOutput(request));
  const failing = expected.filter((tokens) => tokens.includes(101)).length;
  expect(failing).toBeGreaterThan(0);
  expect(failing).toBeLessThan(requests.length);
  results.forEach((result, i) => {
    if (expected[i]!.includes(101)) expect(result).toMatchObject({ code: "internal" });
    else expect(result).toMatchObject({ tokens: [expected[i]] });
  });
  expect(replica.stats()).toMatchObject({ ready: true, running: 0, waiting: 0 });
  await replica.close();
});
