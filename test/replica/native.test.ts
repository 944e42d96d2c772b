import { expect, test } from "bun:test";
import { collect, makeRequest, never, spyOnWorkers, startNative, until } from "./fixture.ts";

const request = (seed: number) =>
  makeRequest(
    Array.from({ length: 30 }, (_, i) => (seed * 13 + i * 5) % 100),
    { maxTokens: 150, temperature: 1, seed, repetitionPenalty: 1.1 },
  );

test("a new Worker takes over the weights and the engine, and streams go on to the same end", async () => {
  const calm = await startNative();
  const requests = [1, 2, 3, 4, 5].map(request);
  const expected = await Promise.all(requests.map((one) => collect(calm.generate(one, never))));
  await calm.close();

  const notices: string[] = [];
  using workers = spyOnWorkers();
  const replica = await startNative((message) => notices.push(message));
  const results = requests.map((one) => collect(replica.generate(one, never)));
  // Each Worker is stopped with a native step in flight.
  for (let deaths = 0; deaths < 2; deaths++) {
    const { outputTokens } = replica.stats();
    await until(() => replica.stats().outputTokens > outputTokens + 20);
    workers.last().terminate();
    await until(() => notices.length > deaths);
  }
  const got = await Promise.all(results);
  got.forEach((result, i) => {
    expect(result.tokens[0]).toEqual(expected[i]!.tokens[0]!);
    expect(result.ends[0]!.usage.completionTokens).toBe(150);
  });
  expect(notices.length).toBe(2);
  expect(replica.stats()).toMatchObject({ ready: true });
  await replica.close();
});

test("the backend's own time is told", async () => {
  const replica = await startNative();
  await replica.profile(true);
  await collect(replica.generate(request(1), never));
  const profile = await replica.profile(false);
  expect(profile.steps).toBeGreaterThanOrEqual(150);
  expect(profile.stepNs).toBeGreaterThan(0);
  expect(Object.values(profile.stages).some(({ ns }) => ns > 0)).toBe(true);
  await replica.close();
});
