import { expect, test } from "bun:test";
import {
  collect,
  expectedOutput,
  FAKE,
  failureOf,
  makeRequest,
  never,
  startReplica,
  until,
  wordTokenizer,
} from "./fixture.ts";

const prompt = (seed: number, length: number) => Array.from({ length }, (_, i) => (seed * 31 + i * 7) % 100);

/** Requests whose outputs hold none of `tokens`, so that only who brings a poisonous token has it. */
function innocent(count: number, ...tokens: number[]) {
  const requests = [];
  for (let seed = 1; requests.length < count; seed++) {
    const request = makeRequest(prompt(seed, 30), { maxTokens: 40, ignoreEos: true, temperature: 1, seed });
    const all = [...request.promptTokenIds, ...expectedOutput(request)];
    if (!tokens.some((token) => all.includes(token))) requests.push(request);
  }
  return requests;
}

/** Runs for a second at 2 ms a step: long enough to be met running on a busy machine. */
const LASTING = makeRequest(prompt(1, 30), { maxTokens: 450, ignoreEos: true });
const SLOW = { cost: { ...FAKE.cost, stepMs: 2 } };

test("failed steps are computed again and no stream notices", async () => {
  const failSteps = [2, 9, 10, 25, 40];
  const replica = await startReplica({ fake: { faults: { failSteps } } });
  const requests = innocent(12);
  const results = await Promise.all(requests.map((request) => collect(replica.generate(request, never))));
  requests.forEach((request, i) => {
    expect(results[i]!.tokens[0]).toEqual(expectedOutput(request));
  });
  expect(replica.stats().engine!.faults).toBe(failSteps.length);
  expect(replica.stats().ready).toBe(true);
  await replica.close();
});

test("when the Worker dies another goes on with every stream, text and stop strings included", async () => {
  const notices: string[] = [];
  const replica = await startReplica({
    fake: { faults: { crashSteps: [12] } },
    replica: { onNotice: (message) => notices.push(message) },
  });
  const requests = innocent(6);
  const output = expectedOutput(requests[0]!);
  // A stop string that lies on both sides of the first crash or later.
  const stop = `${output[10]} ${output[11]} ${output[12]} ${output[13]}`;
  requests[0] = { ...requests[0]!, sampling: { ...requests[0]!.sampling, stop: [stop] } };
  const results = await Promise.all(requests.map((request) => collect(replica.generate(request, never))));
  requests.slice(1).forEach((request, i) => {
    expect(results[i + 1]!.tokens[0]).toEqual(expectedOutput(request));
    expect(results[i + 1]!.texts[0]).toBe(wordTokenizer.decode(expectedOutput(request), true));
    expect(results[i + 1]!.ends[0]!.usage.completionTokens).toBe(40);
  });
  const whole = wordTokenizer.decode(output, true);
  expect(results[0]!.texts[0]).toBe(whole.slice(0, whole.indexOf(stop)));
  expect(notices.length).toBeGreaterThan(0);
  // Counters go on, they do not start over.
  expect(replica.stats().outputTokens).toBeGreaterThan(5 * 39);
  await replica.close();
});

test("a profile asked of a Worker that dies is answered by the next one, and refused when there is none", async () => {
  const replica = await startReplica({ fake: { ...SLOW, faults: { crashSteps: [200] } } });
  const running = collect(replica.generate(LASTING, never));
  await until(() => replica.stats().running === 1);
  const replies: Promise<unknown>[] = [];
  // One at every moment, so also in the mailbox of the Worker that dies.
  await until(() => replies.push(replica.profile(true)) > 0 && replica.stats().outputTokens > 250);
  await Promise.all(replies);
  await replica.profile(false);
  expect((await running).tokens[0]).toEqual(expectedOutput(LASTING));
  await replica.close();
  expect(await failureOf(replica.profile(true))).toMatchObject({ code: "unavailable" });
});

test("a request that fails every step is given up, the others are not", async () => {
  const poisonToken = 101;
  const replica = await startReplica({ fake: { faults: { poisonToken } } });
  const requests = innocent(5, poisonToken);
  const poisonous = makeRequest([...prompt(3, 10), poisonToken], { maxTokens: 5 });
  const failing = collect(replica.generate(poisonous, never)).catch((error: unknown) => error);
  const results = Promise.all(requests.map((request) => collect(replica.generate(request, never))));
  expect(await failing).toMatchObject({ code: "internal", final: true });
  (await results).forEach((result, i) => {
    expect(result.tokens[0]).toEqual(expectedOutput(requests[i]!));
  });
  await replica.close();
});

test("a request that kills Workers is given up, the others are not", async () => {
  const crashToken = 102;
  const replica = await startReplica({ fake: { faults: { crashToken } } });
  const poisonous = makeRequest([...prompt(3, 10), crashToken], { maxTokens: 5 });
  expect(await failureOf(collect(replica.generate(poisonous, never)))).toMatchObject({
    code: "internal",
    final: true,
  });
  const [request] = innocent(1, crashToken);
  expect((await collect(replica.generate(request!, never))).tokens[0]).toEqual(expectedOutput(request!));
  await replica.close();
});

test("culprits, one after the other and at once, end alone: streams and arrivals go on, and the process does", async () => {
  const crashToken = 102;
  const fatal: Error[] = [];
  const notices: string[] = [];
  const replica = await startReplica({
    fake: { ...SLOW, faults: { crashToken } },
    replica: { onFatal: (error) => fatal.push(error), onNotice: (message) => notices.push(message) },
  });
  const [long, ...arrivals] = innocent(12, crashToken);
  const requests = [{ ...long!, sampling: { ...long!.sampling, maxTokens: 30 } }];
  const results = requests.map((request) => collect(replica.generate(request, never)));
  const poisonous = (n: number) => makeRequest([...prompt(n, 10), crashToken], { maxTokens: 5 }, { n: 1 + (n % 3) });
  const failures: Promise<unknown>[] = [];
  for (let i = 0; i < 11; i++) {
    // Two at once now and then; an innocent request arrives while they are tried.
    failures.push(failureOf(collect(replica.generate(poisonous(i), never))));
    if (i % 4 === 1) failures.push(failureOf(collect(replica.generate(poisonous(i + 100), never))));
    requests.push(arrivals[i]!);
    results.push(collect(replica.generate(arrivals[i]!, never)));
    if (i % 2 === 0) await failures.at(-1);
  }
  for (const failure of await Promise.all(failures)) expect(failure).toMatchObject({ code: "internal" });
  (await Promise.all(results)).forEach((result, i) => {
    expect(result.tokens[0]).toEqual(expectedOutput(requests[i]!));
  });
  expect(fatal).toEqual([]);
  expect(notices.filter((notice) => notice.includes("given up")).length).toBe(failures.length);
  expect(replica.stats()).toMatchObject({ ready: true, waiting: 0 });
  await replica.close();
}, 30_000);

test("a culprit that leaves before its verdict, again and again, is not fatal either", async () => {
  const crashToken = 102;
  const fatal: Error[] = [];
  const replica = await startReplica({
    fake: { faults: { crashToken } },
    replica: { onFatal: (error) => fatal.push(error) },
  });
  for (let i = 0; i < 12; i++) {
    const leaving = new AbortController();
    const deaths = until(() => !replica.stats().ready);
    const left = failureOf(collect(replica.generate(makeRequest([...prompt(i, 5), crashToken]), leaving.signal)));
    await deaths;
    leaving.abort();
    expect(await left).toMatchObject({ code: "cancelled" });
    await until(() => replica.stats().ready || fatal.length > 0);
  }
  expect(fatal).toEqual([]);
  const [request] = innocent(1, crashToken);
  expect((await collect(replica.generate(request!, never))).tokens[0]).toEqual(expectedOutput(request!));
  await replica.close();
}, 30_000);

test("a sticky error ends every stream and is reported once", async () => {
  const fatal: Error[] = [];
  const replica = await startReplica({
    fake: { faults: { failSteps: [15], status: -5 } },
    replica: { onFatal: (error) => fatal.push(error) },
  });
  const requests = innocent(4);
  const errors = await Promise.all(
    requests.map((request) => collect(replica.generate(request, never)).catch((error: unknown) => error)),
  );
  for (const error of errors) expect(error).toMatchObject({ code: "unavailable" });
  expect(fatal.length).toBe(1);
  expect(replica.stats().ready).toBe(false);
  expect(await failureOf(collect(replica.generate(requests[0]!, never)))).toMatchObject({ code: "unavailable" });
  await replica.close();
});

test("an engine that dies again and again is fatal", async () => {
  const fatal: Error[] = [];
  const replica = await startReplica({
    fake: { faults: { crashSteps: [1] } },
    replica: { onFatal: (error) => fatal.push(error) },
  });
  // The first is given up after three Workers; then they die of nothing at all, too.
  for (let i = 0; i < 4 && fatal.length === 0; i++) {
    await collect(replica.generate(makeRequest(prompt(i, 5), { maxTokens: 3 }), never)).catch(() => {});
  }
  expect(fatal.length).toBe(1);
  await replica.close();
});

test("a backend that cannot start rejects the start", async () => {
  // Too few blocks for a context.
  expect(String(await failureOf(startReplica({ fake: { numBlocks: 4 } })))).toContain("KV cache");
});

test("a full queue refuses with a time to come back", async () => {
  const replica = await startReplica({ engine: { maxNumSeqs: 1, maxQueue: 3 }, fake: SLOW });
  const results = [collect(replica.generate(LASTING, never))];
  await until(() => replica.stats().running === 1);
  for (const request of innocent(3)) results.push(collect(replica.generate(request, never)));
  const refused = await failureOf(collect(replica.generate(LASTING, never)));
  expect(refused).toMatchObject({ code: "overloaded" });
  expect((refused as { retryAfterS: number }).retryAfterS).toBeGreaterThanOrEqual(1);
  const lengths = (await Promise.all(results)).map(({ tokens }) => tokens[0]!.length);
  expect(lengths).toEqual([450, 40, 40, 40]);
  await replica.close();
});

test("draining refuses new requests and waits for the running ones", async () => {
  const replica = await startReplica({ fake: SLOW });
  const running = collect(replica.generate(LASTING, never));
  await until(() => replica.stats().running === 1);
  const drained = replica.drain();
  expect(replica.stats().ready).toBe(false);
  expect(await failureOf(collect(replica.generate(LASTING, never)))).toMatchObject({ code: "unavailable" });
  await drained;
  expect((await running).tokens[0]).toEqual(expectedOutput(LASTING));
  await replica.close();
});

test("closing ends what still runs", async () => {
  const replica = await startReplica({ fake: SLOW });
  const running = failureOf(collect(replica.generate(LASTING, never)));
  await until(() => replica.stats().running === 1);
  await replica.close();
  expect(await running).toMatchObject({ code: "unavailable" });
});
