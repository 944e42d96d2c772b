import { afterEach, expect, test } from "bun:test";
import { systemClock } from "../../src/core/clock.ts";
import { ServeError } from "../../src/core/errors.ts";
import { collect, expectedOutput, failureOf, makeRequest, never, startReplica, wordTokenizer } from "./fixture.ts";

/** What is thrown at a seam of the replica ends the request that it was thrown over, and nothing else. */

const prompt = (seed: number, length: number) => Array.from({ length }, (_, i) => (seed * 31 + i * 7) % 100);
const request = (seed: number) => makeRequest(prompt(seed, 20), { maxTokens: 60, ignoreEos: true });
const RealWorker = globalThis.Worker;
afterEach(() => {
  globalThis.Worker = RealWorker;
});

test("a token whose text cannot be made ends the requests that have it", async () => {
  const requests = Array.from({ length: 8 }, (_, i) => request(i));
  const outputs = requests.map((each) => expectedOutput(each));
  const poison = outputs[0]!.find((token) => outputs.some((output) => !output.includes(token)))!;
  const tokenizer = {
    ...wordTokenizer,
    tokenText: (id: number) => {
      if (id === poison) throw new Error("no such text");
      return wordTokenizer.tokenText(id);
    },
  };
  const replica = await startReplica({ replica: { tokenizer } });
  const ended = requests.map((each) => collect(replica.generate(each, never)).catch((error: unknown) => error));
  for (const [i, end] of (await Promise.all(ended)).entries()) {
    if (outputs[i]!.includes(poison)) {
      expect(end).toMatchObject({ code: "internal", cause: new Error("no such text") });
    } else {
      expect((end as Awaited<ReturnType<typeof collect>>).tokens[0]).toEqual(outputs[i]!);
    }
  }
  expect(replica.stats()).toMatchObject({ ready: true, waiting: 0 });
  await replica.close();
});

test("a request that cannot be posted to the engine", async () => {
  const replica = await startReplica();
  const bad = makeRequest(prompt(1, 20), { logitBias: [[1, (() => 1) as unknown as number]] });
  const good = collect(replica.generate(request(1), never));
  const failed = await failureOf(collect(replica.generate(bad, never)));
  expect(failed).toBeInstanceOf(ServeError);
  expect(failed).toMatchObject({ code: "internal" });
  expect((await good).tokens[0]).toEqual(expectedOutput(request(1)));
  expect(replica.stats()).toMatchObject({ ready: true, waiting: 0 });
  await replica.close();
});

test("what is thrown over a message as a whole: engine and streams begin anew, no token is lost", async () => {
  const notices: string[] = [];
  let broken = false;
  const clock = {
    ...systemClock,
    nowMs() {
      if (!broken || !new Error().stack!.includes("onStep")) return systemClock.nowMs();
      broken = false;
      throw new Error("no time");
    },
  };
  const replica = await startReplica({ replica: { clock, onNotice: (message) => notices.push(message) } });
  const each = request(3);
  const running = collect(replica.generate(each, never));
  broken = true;
  expect((await running).tokens[0]).toEqual(expectedOutput(each));
  expect(notices.join()).toContain("no time");
  expect(replica.stats().ready).toBe(true);
  await replica.close();
});

test("a Worker that cannot be started again: streams end, and the process is told", async () => {
  const fatal: Error[] = [];
  const replica = await startReplica({
    fake: { faults: { crashSteps: [5] } },
    replica: { onFatal: (error) => fatal.push(error) },
  });
  globalThis.Worker = class {
    constructor() {
      throw new Error("no more threads");
    }
  } as unknown as typeof Worker;
  expect(await failureOf(collect(replica.generate(request(4), never)))).toMatchObject({ code: "unavailable" });
  expect(String(fatal)).toContain("no more threads");
  expect(replica.stats().ready).toBe(false);
  await replica.close();
});
