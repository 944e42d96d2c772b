import { afterAll, beforeAll, expect, test } from "bun:test";
import { ServeError } from "../../src/core/errors.ts";
import type { LocalReplica } from "../../src/replica/local.ts";
import {
  collect,
  EOS,
  expectedOutput,
  failureOf,
  makeRequest,
  never,
  startReplica,
  until,
  wordTokenizer,
} from "./fixture.ts";

let replica: LocalReplica;
beforeAll(async () => {
  replica = await startReplica();
});
afterAll(() => replica.close());

const prompt = (seed: number, length: number) => Array.from({ length }, (_, i) => (seed * 31 + i * 7) % 100);

test("streams what the model says, with text, usage and timings", async () => {
  const request = makeRequest(prompt(1, 20), { maxTokens: 50, ignoreEos: true });
  const { events, tokens, texts, ends } = await collect(replica.generate(request, never));
  const expected = expectedOutput(request);
  expect(tokens[0]).toEqual(expected);
  expect(texts[0]).toBe(wordTokenizer.decode(expected, true));
  expect(events[0]).toEqual({ type: "prompt", cachedTokens: 0, promptLogprobs: undefined });
  expect(ends[0]).toMatchObject({
    index: 0,
    finishReason: "length",
    stopReason: undefined,
    usage: { promptTokens: 20, completionTokens: 50, cachedTokens: 0 },
  });
  const { arrivedMs, scheduledMs, firstTokenMs, finishedMs } = ends[0]!.timings;
  expect(arrivedMs <= scheduledMs && scheduledMs <= firstTokenMs && firstTokenMs <= finishedMs).toBe(true);
});

test("the way of step messages and the work around steps are timed", async () => {
  const [messages, engine] = [replica.messages, replica.stats().engine!];
  await collect(replica.generate(makeRequest(prompt(2, 20), { maxTokens: 50, ignoreEos: true }), never));
  const sent = replica.messages.count - messages.count;
  expect(sent).toBeGreaterThanOrEqual(50);
  // The threads' clocks begin apart, by more than a message takes.
  const meanMs = (replica.messages.ms - messages.ms) / sent;
  expect(meanMs).toBeGreaterThan(0);
  expect(meanMs).toBeLessThan(20);
  const { scheduleMs, packMs, commitMs } = replica.stats().engine!;
  const parts = [packMs - engine.packMs, commitMs - engine.commitMs];
  expect(Math.min(...parts)).toBeGreaterThan(0);
  expect(parts[0]! + parts[1]!).toBeLessThan(scheduleMs - engine.scheduleMs);
});

test("concurrent requests share steps and each gets its own output", async () => {
  const requests = Array.from({ length: 40 }, (_, i) =>
    makeRequest(prompt(i, 5 + i * 3), { maxTokens: 5 + i, temperature: 1, seed: i }),
  );
  const results = await Promise.all(requests.map((request) => collect(replica.generate(request, never))));
  requests.forEach((request, i) => {
    expect(results[i]!.tokens[0]).toEqual(expectedOutput(request));
  });
  await until(() => replica.stats().running === 0);
});

test("n choices differ by seed and share the prompt", async () => {
  const request = makeRequest(prompt(3, 29), { maxTokens: 12, temperature: 1, seed: 9 }, { n: 5 });
  const { tokens, ends } = await collect(replica.generate(request, never));
  for (let index = 0; index < 5; index++) expect(tokens[index]).toEqual(expectedOutput(request, index));
  expect(new Set(tokens.map(String)).size).toBe(5);
  expect(ends.length).toBe(5);
});

test("the end token ends a choice; its text is hidden, its id is not", async () => {
  // A prompt whose output meets the end token.
  let request = makeRequest(prompt(0, 4), { maxTokens: 400 });
  for (let seed = 1; expectedOutput(request).at(-1) !== EOS; seed++) {
    request = makeRequest(prompt(seed, 4), { maxTokens: 400 });
  }
  const { tokens, texts, ends } = await collect(replica.generate(request, never));
  expect(tokens[0]).toEqual(expectedOutput(request));
  expect(texts[0]).not.toContain(`${EOS} `);
  expect(ends[0]).toMatchObject({ finishReason: "stop", stopReason: undefined });
});

test("a stop token id is the stop reason, and a stop string cuts the text", async () => {
  const free = makeRequest(prompt(5, 10), { maxTokens: 40, ignoreEos: true });
  const output = expectedOutput(free);
  const byId = makeRequest(prompt(5, 10), { maxTokens: 40, stopTokenIds: [output[7]!] });
  const stopped = await collect(replica.generate(byId, never));
  const at = output.indexOf(output[7]!);
  expect(stopped.tokens[0]).toEqual(output.slice(0, at + 1));
  expect(stopped.texts[0]).toBe(wordTokenizer.decode(output.slice(0, at), true));
  expect(stopped.ends[0]).toMatchObject({ finishReason: "stop", stopReason: output[at]! });

  // A string that spans two tokens.
  const stop = `${output[6]} ${output[7]}`;
  const byText = makeRequest(prompt(5, 10), { maxTokens: 40, ignoreEos: true, stop: [stop] });
  const cut = await collect(replica.generate(byText, never));
  const whole = wordTokenizer.decode(output, true);
  expect(cut.texts[0]).toBe(whole.slice(0, whole.indexOf(stop)));
  expect(cut.ends[0]).toMatchObject({ finishReason: "stop", stopReason: stop });
  expect(cut.ends[0]!.usage.completionTokens).toBe(cut.tokens[0]!.length);
});

test("no end of any kind comes within min_tokens; a moved stream counts what it brings", async () => {
  const output = expectedOutput(makeRequest(prompt(5, 10), { maxTokens: 40, ignoreEos: true }));
  const text = (ids: readonly number[]) => wordTokenizer.decode(ids, true);
  // Every token is a stop string of its own: the first that may end the text is the one after min_tokens.
  const stop = [" "];
  for (const minTokens of [0, 1, 7, 39]) {
    const request = makeRequest(prompt(5, 10), { maxTokens: 40, ignoreEos: true, minTokens, stop });
    const { texts, ends } = await collect(replica.generate(request, never));
    expect(texts[0]).toBe(text(output.slice(0, minTokens + 1)).slice(0, -1));
    expect(ends[0]).toMatchObject({ finishReason: "stop", stopReason: " " });
    expect(ends[0]!.usage.completionTokens).toBe(minTokens + 1);
    for (const brought of [0, 5].filter((count) => count <= minTokens)) {
      const resume = { outputTokenIds: Int32Array.from(output.slice(0, brought)) };
      const moved = await collect(replica.generate({ ...request, resume }, never));
      expect(moved.tokens[0]).toEqual(output.slice(brought, minTokens + 1));
    }
  }
  // Longer than the context allows: it ends at the context's end.
  const request = makeRequest(prompt(5, 10), { maxTokens: 40, ignoreEos: true, minTokens: 100, stop });
  expect((await collect(replica.generate(request, never))).ends[0]).toMatchObject({ finishReason: "length" });
  // Stop token ids: the fake model, too, does not sample them before.
  const byId = makeRequest(prompt(5, 10), { maxTokens: 40, minTokens: 20, stopTokenIds: output.slice(0, 10) });
  expect((await collect(replica.generate(byId, never))).tokens[0]!.length).toBeGreaterThan(20);
});

test("logprobs come with every token, prompt logprobs before the first", async () => {
  const request = makeRequest(prompt(6, 70), { maxTokens: 5, ignoreEos: true, logprobs: 3, promptLogprobs: 2 });
  const { events } = await collect(replica.generate(request, never));
  const first = events[0]!;
  if (first.type !== "prompt") throw new Error("the prompt event comes first");
  expect(first.promptLogprobs?.length).toBe(70);
  expect(first.promptLogprobs?.[0]).toBeNull();
  first.promptLogprobs!.slice(1).forEach((row, i) => {
    expect(row!.tokenId).toBe(request.promptTokenIds[i + 1]!);
    expect(row!.top.length).toBe(2);
    expect(row!.rank).toBeGreaterThan(0);
  });
  const deltas = events.filter((event) => event.type === "text-delta");
  for (const delta of deltas) {
    expect(delta.logprobs?.map((row) => row.tokenId)).toEqual([...delta.tokenIds]);
    for (const row of delta.logprobs ?? []) expect(row.top.length).toBe(3);
  }
  const again = makeRequest(prompt(6, 70), { maxTokens: 5, ignoreEos: true });
  const cached = await collect(replica.generate(again, never));
  expect(cached.ends[0]!.usage.cachedTokens).toBe(64);
});

test("a moved stream goes on where it was", async () => {
  const request = makeRequest(prompt(8, 15), {
    maxTokens: 30,
    ignoreEos: true,
    temperature: 1,
    seed: 4,
    repetitionPenalty: 1.3,
    frequencyPenalty: 0.2,
  });
  const whole = expectedOutput(request);
  const resumed = { ...request, resume: { outputTokenIds: Int32Array.from(whole.slice(0, 11)) } };
  const { tokens, texts, ends } = await collect(replica.generate(resumed, never));
  expect(tokens[0]).toEqual(whole.slice(11));
  expect(texts[0]).toBe(wordTokenizer.decode(whole.slice(11), true));
  expect(ends[0]!.usage.completionTokens).toBe(30);
});

test("aborting and leaving early free everything", async () => {
  // Slow enough to be met running.
  const slow = await startReplica({ fake: { cost: { stepMs: 2, decodeMs: 0, prefillMs: 0, contextMs: 0 } } });
  const abort = new AbortController();
  const long = makeRequest(prompt(9, 40), { maxTokens: 400, ignoreEos: true });
  const cancelled = failureOf(collect(slow.generate(long, abort.signal)));
  await until(() => slow.stats().running > 0);
  abort.abort();
  expect(await cancelled).toMatchObject({ code: "cancelled" });
  for await (const event of slow.generate({ ...long, id: "other" }, never)) {
    if (event.type === "text-delta") break;
  }
  await until(() => slow.stats().running === 0 && slow.stats().kvBlocksUsed === 0);
  expect(slow.stats().outputTokens).toBeLessThan(400);
  await slow.close();
});

test("what can never fit is refused", async () => {
  const request = makeRequest(prompt(1, 512), { maxTokens: 5 });
  expect(await failureOf(collect(replica.generate(request, never)))).toMatchObject({
    code: "invalid_argument",
    reason: "context_length_exceeded",
  });
});

test("a reader that falls behind gets its text in one piece", async () => {
  const request = makeRequest(prompt(12, 20), { maxTokens: 100, ignoreEos: true });
  const reader = replica.generate(request, never)[Symbol.asyncIterator]();
  await reader.next();
  await until(() => replica.stats().running === 0);
  await Bun.sleep(5);
  const rest: string[] = [];
  for (let next = await reader.next(); !next.done; next = await reader.next()) rest.push(next.value.type);
  expect(rest).toEqual(["text-delta", "end"]);
});

test("errors are ServeErrors", async () => {
  const expired = makeRequest(prompt(1, 5), { maxTokens: 5 }, { deadlineMs: 0 });
  const error = await collect(replica.generate(expired, never)).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(ServeError);
  expect((error as ServeError).code).toBe("deadline_exceeded");
});
