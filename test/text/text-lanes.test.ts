import { afterEach, describe, expect, test } from "bun:test";
import { LIMITS, type Limits } from "../../src/config/limits.ts";
import { ServeError } from "../../src/core/errors.ts";
import type { TextService } from "../../src/text/text-service.ts";
import { createTextService } from "../../src/text/worker-text-service.ts";
import { sourceOf } from "./sources.ts";
import { tokenizerWorker } from "./tokenizer-workers.ts";

const prompt = { addGenerationPrompt: true };
const hi = [{ role: "user", content: "hi" }];
const chatTemplate = "{{ messages[0].content }}";
/** Too long to be encoded where it comes, and short enough for the lane of short texts. */
const short = (what: string) => what.padEnd(LIMITS.maxInlineTextChars + 1);
const long = (what: string) => what.padEnd(LIMITS.expressTextChars + 1);

const services: TextService[] = [];
afterEach(async () => {
  for (const service of services.splice(0)) await service.close();
});

interface Started {
  service: TextService;
  /** The first lane's, the one for short texts, and what came in their place. */
  workers: Worker[];
  /** What the next Workers are: an error is thrown in place of one; a mute one can be sent nothing. */
  next: Array<"real" | "fake" | "mute" | Error>;
  clock: { now: number };
}

/** A service over the fake Worker, unless `next` says otherwise. */
async function start(limits: Partial<Limits> = {}, kind: "real" | "fake" = "fake"): Promise<Started> {
  const workers: Worker[] = [];
  const next: Started["next"] = [];
  const clock = { now: 0 };
  const createWorker = () => {
    const what = next.shift() ?? kind;
    if (what instanceof Error) throw what;
    const worker = tokenizerWorker(what === "real" ? "real" : "fake");
    if (what === "mute") worker.postMessage = outOfMemory;
    workers.push(worker);
    return worker;
  };
  const source = { ...sourceOf("gpt2"), chatTemplate };
  const options = { maxModelLen: 8192, createWorker, limits, clock: { nowMs: () => clock.now, epochS: () => 0 } };
  const service = await createTextService(source, options);
  services.push(service);
  return { service, workers, next, clock };
}

function outOfMemory(): never {
  throw new RangeError("out of memory");
}

async function failure(promise: Promise<unknown>): Promise<ServeError> {
  const error = await promise.then(
    () => new Error("resolved"),
    (reason: unknown) => reason,
  );
  if (!(error instanceof ServeError)) throw error;
  return error;
}

/** Deeper than a structured clone can follow. */
function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let i = 0; i < depth; i++) value = [value];
  return value;
}

describe("what is thrown for one text ends that text alone", () => {
  test("variables that cannot be cloned, or are too deep or too many", async () => {
    const { service } = await start({}, "real");
    const kwargs = (variables: Record<string, unknown>) =>
      failure(service.encodeChat(hi, { addGenerationPrompt: true, variables }));
    for (const variables of [{ a: nested(40_000) }, { a: nested(300) }, { a: Array(40_000).fill(0) }]) {
      expect(await kwargs(variables)).toMatchObject({ code: "invalid_argument", param: "chat_template_kwargs" });
    }
    expect((await service.encodeChat(hi, { ...prompt, variables: { a: nested(250) } })).text).toBe("hi");
    const calling = (arguments_: Record<string, unknown>) =>
      failure(
        service.encodeChat(
          [
            {
              role: "assistant",
              content: "",
              tool_calls: [{ id: "1", type: "function", function: { name: "f", arguments: arguments_ } }],
            },
          ],
          prompt,
        ),
      );
    for (const arguments_ of [{ a: nested(40_000) }, { a: Array(40_000).fill(0) }]) {
      expect(await calling(arguments_)).toMatchObject({ code: "invalid_argument", param: "messages" });
    }
    // No JSON has these; whatever a Worker cannot be sent is an error of that request.
    expect(await kwargs({ a: () => 1 })).toMatchObject({ code: "internal" });
    const both = await Promise.all([kwargs({ a: Symbol("s") }), service.encodeChat(hi, prompt)]);
    expect(both[1].text).toBe("hi");
    expect(service.ready).toBe(true);
  });

  test("a Worker that cannot be created, now and then", async () => {
    const { service, next, workers } = await start({ laneRestartMs: 5 });
    // Both attempts' Workers, and the one started in advance.
    next.push(new Error("no more threads"), new Error("no more threads"), new Error("no more threads"));
    // No Worker is no fault of the text's.
    expect(await failure(service.encode(long("crash"), false))).toMatchObject({ code: "unavailable", final: false });
    expect(await service.encode(long("answer"), false)).toEqual(Int32Array.of(2));
    expect(workers.length).toBe(3);
  });

  test("a Worker that cannot be posted to", async () => {
    const { service, workers } = await start();
    const post = workers[0]!.postMessage;
    workers[0]!.postMessage = outOfMemory;
    const failed = await failure(service.encode(long("answer"), false));
    expect(failed).toMatchObject({ code: "internal", cause: expect.any(RangeError) });
    workers[0]!.postMessage = post;
    expect(await service.encode(long("answer"), false)).toEqual(Int32Array.of(2));
    expect(workers.length).toBe(2);
  });

  test("a Worker that is created and cannot be given its first message", async () => {
    const { service, workers, next } = await start({ laneRestartMs: 5 });
    next.push("mute", "mute", "mute");
    // No Worker is no fault of the text's.
    expect(await failure(service.encode(long("crash"), false))).toMatchObject({ code: "unavailable", final: false });
    expect(await service.encode(long("answer"), false)).toEqual(Int32Array.of(2));
    expect(workers.length).toBe(6);
  });
});

describe("readiness", () => {
  test("texts wait and none gets done: not ready, until one is", async () => {
    const { service, clock } = await start({ textStallMs: 1000, encodeDeadlineMs: 300 });
    const texts = [long("silent"), long("silent"), long("answer")].map((text) =>
      service.encode(text, false).then(
        () => "encoded",
        (error: ServeError) => error.reason,
      ),
    );
    expect(service.ready).toBe(true);
    clock.now = 1001;
    expect(service.ready).toBe(false);
    // The Worker that says nothing is replaced.
    expect(await Promise.all(texts)).toEqual(["encoder_deadline", "encoder_deadline", "encoded"]);
    expect(service.ready).toBe(true);
  });

  test("no Worker lives: not ready, until one does", async () => {
    const { service, next, workers } = await start({ laneRestartMs: 20 });
    for (let i = 0; i < 6; i++) next.push(new Error("no more threads"));
    // Nobody asks for anything: they end by themselves, and are replaced.
    for (const worker of workers) worker.terminate();
    const ready = () => service.ready;
    while (ready()) await Bun.sleep(1);
    while (workers.length < 4) await Bun.sleep(1);
    expect(ready()).toBe(true);
    expect(await service.encode(long("answer"), false)).toEqual(Int32Array.of(2));
    expect(await service.encode(short("answer"), false)).toEqual(Int32Array.of(2));
  });

  test("a closed service is not", async () => {
    const { service } = await start();
    await service.close();
    expect(service.ready).toBe(false);
  });
});

describe("waiting", () => {
  const texts = (count: number, service: TextService, tenant: string) =>
    Array.from({ length: count }, () => failure(service.encode(long("silent"), false, undefined, tenant)));

  test("a short text does not wait for long ones, whoever sent them", async () => {
    const { service } = await start();
    const before = Array.from({ length: 16 }, () => failure(service.encode(long("silent"), false)));
    expect(await service.encode(short("answer"), false)).toEqual(Int32Array.of(2));
    await service.close();
    expect(new Set((await Promise.all(before)).map((error) => error.code))).toEqual(new Set(["unavailable"]));
  });

  test("a chat is long by whatever it hands to its template, and by its messages", async () => {
    const big = "x".repeat(LIMITS.expressTextChars);
    const call = { id: "1", type: "function", function: { name: "f", arguments: { a: big } } } as const;
    for (const [fields, count] of [
      [{ content: big }, 1],
      [{ role: big }, 1],
      [{ name: big }, 1],
      [{ tool_call_id: big }, 1],
      [{ reasoning_content: big }, 1],
      [{ tool_calls: [call] }, 1],
      [{}, 2000],
    ] as const) {
      const { service } = await start();
      const messages = Array(count).fill({ role: "user", content: "", ...fields });
      const before = Array.from({ length: 3 }, () => failure(service.encodeChat(messages, prompt)));
      const answered = service.encodeChat([{ role: "user", content: "answer" }], prompt);
      expect((await answered).ids).toEqual(Int32Array.of(3));
      await service.close();
      for (const error of await Promise.all(before)) expect(error.code).toBe("unavailable");
    }
  });

  test("the queue is bounded for each tenant, and for all; closing rejects what waits", async () => {
    const { service } = await start({ maxQueuedTexts: 3, maxQueuedTextsOfAll: 5 });
    const full = { code: "overloaded", reason: "queue_full", retryAfterS: 1 };
    // One runs.
    const waiting = texts(4, service, "a");
    expect(await texts(1, service, "a")[0]!).toMatchObject(full);
    waiting.push(...texts(2, service, "b"));
    expect(await texts(1, service, "b")[0]!).toMatchObject(full);
    await service.close();
    for (const error of await Promise.all(waiting)) expect(error.code).toBe("unavailable");
    expect(await texts(1, service, "a")[0]!).toMatchObject({ code: "unavailable" });
  });

  test("so are its characters, but a tenant may always have one text", async () => {
    const { service } = await start({ maxQueuedTextChars: LIMITS.expressTextChars });
    const waiting = texts(2, service, "a");
    expect(await texts(1, service, "a")[0]!).toMatchObject({ code: "overloaded" });
    waiting.push(...texts(1, service, "b"));
    await service.close();
    for (const error of await Promise.all(waiting)) expect(error.code).toBe("unavailable");
  });

  test("an aborted request leaves at once and gives its place to another, whether it waits or runs", async () => {
    const { service } = await start({ maxQueuedTexts: 1 });
    const running = new AbortController();
    const waiting = new AbortController();
    const first = failure(service.encode(long("silent"), false, running.signal));
    const second = failure(service.encode(long("silent"), false, waiting.signal));
    expect(await texts(1, service, "")[0]!).toMatchObject({ code: "overloaded" });
    waiting.abort();
    expect(await second).toMatchObject({ code: "cancelled" });
    const third = texts(1, service, "")[0]!;
    running.abort();
    expect(await first).toMatchObject({ code: "cancelled" });
    expect(await failure(service.encode(short("silent"), false, AbortSignal.abort()))).toMatchObject({
      code: "cancelled",
    });
    await service.close();
    expect(await third).toMatchObject({ code: "unavailable" });
  });

  test("a text that is certain to be far too long is refused before it waits", async () => {
    const { service } = await start();
    const words = (count: number) => "word ".repeat(count);
    expect(await failure(service.encode(words(40_000), false))).toMatchObject({
      code: "invalid_argument",
      param: "prompt",
      reason: "context_length_exceeded",
    });
    const chat = [20_000, 20_000].map((count) => ({ role: "user", content: words(count) }));
    expect(await failure(service.encodeChat(chat, prompt))).toMatchObject({
      param: "messages",
      reason: "context_length_exceeded",
    });
  });
});
