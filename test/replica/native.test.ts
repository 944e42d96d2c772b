import { expect, test } from "bun:test";
import { join } from "node:path";
import { locateLibrary } from "../../src/backend/library.ts";
import { systemClock } from "../../src/core/clock.ts";
import { DEFAULT_ENGINE_OPTIONS } from "../../src/engine/engine-options.ts";
import { openModel } from "../../src/model/open-model.ts";
import { LocalReplica } from "../../src/replica/local.ts";
import type { Tokenizer } from "../../src/text/tokenizer.ts";
import { collect, failureOf, makeRequest, never, wordTokenizer } from "./fixture.ts";

/** A replica over a real checkpoint, tiny, in a Worker. */
async function startNative(onNotice: (message: string) => void = () => {}): Promise<LocalReplica> {
  const model = openModel(join(import.meta.dir, "../fixtures/goldens/tiny-llama"));
  const tokenizer: Tokenizer = { ...wordTokenizer, eosTokenIds: [], tokenText: () => "x", isSpecial: () => false };
  return LocalReplica.start({
    name: "tiny-llama",
    backend: {
      kind: "load",
      load: {
        plan: model.plan,
        libraryPath: await locateLibrary(),
        weightFormat: "auto",
        isa: "auto",
        numThreads: 2,
        kvDtype: "auto",
        blockSize: 16,
        kvCacheMemoryBytes: 0,
        maxModelLen: 256,
      },
    },
    engine: DEFAULT_ENGINE_OPTIONS,
    tokenizer,
    clock: systemClock,
    onNotice,
  });
}

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
  const replica = await startNative((message) => notices.push(message));
  const results = requests.map((one) => collect(replica.generate(one, never)));
  // A message that the engine chokes on: the Worker dies with a native step in flight, more than once.
  const garbage = { ...request(6), promptTokenIds: { length: 3 } as unknown as Int32Array };
  expect(await failureOf(collect(replica.generate(garbage, never)))).toMatchObject({ code: "internal" });
  const got = await Promise.all(results);
  got.forEach((result, i) => {
    expect(result.tokens[0]).toEqual(expected[i]!.tokens[0]!);
    expect(result.ends[0]!.usage.completionTokens).toBe(150);
  });
  expect(notices.length).toBeGreaterThan(1);
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
