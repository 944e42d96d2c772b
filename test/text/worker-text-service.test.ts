import { afterEach, describe, expect, test } from "bun:test";
import { LIMITS } from "../../src/config/limits.ts";
import { ServeError } from "../../src/core/errors.ts";
import type { TextSource } from "../../src/model/spec.ts";
import type { TextService } from "../../src/text/text-service.ts";
import { createTextService } from "../../src/text/worker-text-service.ts";
import { bundledSource, jsonSource, readJson, sourceOf } from "./sources.ts";
import { tokenizerWorker } from "./tokenizer-workers.ts";

interface Chat {
  messages: Array<{ role: string; content: string }>;
  rendered: string;
  ids: number[];
}
const { chats } = readJson<{ chats: Chat[] }>("test/fixtures/reference/reference.json");
const long = "The harbour master kept two books. ".repeat(200);
const prompt = { addGenerationPrompt: true };

const services: TextService[] = [];
afterEach(async () => {
  for (const service of services.splice(0)) await service.close();
});

interface Spied {
  service: TextService;
  /** Types of the messages posted to Workers. */
  posted: string[];
  workers: () => number;
}

/**
 * A service of whose first lane the n-th Worker is the real one or the fake. That of the lane for short texts, which is
 * made second, is as the first and neither counted nor listened to.
 */
async function start(source: TextSource, maxModelLen: number, kinds: Array<"real" | "fake"> = []): Promise<Spied> {
  const posted: string[] = [];
  let workers = 0;
  const createWorker = () => {
    const number = workers++;
    const isExpress = number === 1;
    const kind = kinds[Math.min(isExpress ? 0 : Math.max(0, number - 1), kinds.length - 1)] ?? "real";
    const worker = tokenizerWorker(kind);
    const post = worker.postMessage.bind(worker) as (message: { type: string }) => void;
    worker.postMessage = (message: { type: string }) => {
      if (!isExpress) posted.push(message.type);
      post(message);
    };
    return worker;
  };
  const service = await createTextService(source, { maxModelLen, createWorker });
  services.push(service);
  return { service, posted, workers: () => workers - 1 };
}

async function failure(promise: Promise<unknown>): Promise<ServeError> {
  const error = await promise.then(
    () => new Error("resolved"),
    (reason: unknown) => reason,
  );
  if (!(error instanceof ServeError)) throw error;
  return error;
}

describe("with the bundled model", () => {
  test("short texts are encoded in place, long ones in the Worker, alike", async () => {
    const { service, posted } = await start(bundledSource(), 8192);
    expect(posted).toEqual(["open"]);
    const short = "Hello world";
    expect(await service.encode(short, true)).toEqual(service.tokenizer.encode(short, true));
    expect(posted).toEqual(["open"]);
    expect(await service.encode(long, true)).toEqual(service.tokenizer.encode(long, true));
    expect(posted).toEqual(["open", "encode"]);
  });

  test("chats are rendered and encoded as in the reference, many at once", async () => {
    const { service } = await start(bundledSource(), 8192);
    expect(service.hasChatTemplate).toBe(true);
    const all = await Promise.all([...chats, ...chats].map((chat) => service.encodeChat(chat.messages, prompt)));
    all.forEach(({ text, ids }, i) => {
      const chat = chats[i % chats.length]!;
      expect(text).toBe(chat.rendered);
      expect([...ids]).toEqual(chat.ids);
    });
    for (const { templateMs, tokeniseMs } of all) {
      expect(templateMs).toBeGreaterThan(0);
      expect(tokeniseMs).toBeGreaterThan(0);
    }
  });

  test("the service made for the server itself finds its Worker", async () => {
    const service = await createTextService(bundledSource(), { maxModelLen: 8192 });
    services.push(service);
    expect((await service.encode(long, false)).length).toBeGreaterThan(1000);
    expect(service.tokenizer.eosTokenIds).toContain(2);
  });
});

describe("texts that are refused", () => {
  test("longer than the context can hold", async () => {
    const { service, posted } = await start(bundledSource(), 10);
    const text = "a".repeat(10 * LIMITS.maxCharsPerToken + 1);
    expect(await failure(service.encode(text, false))).toMatchObject({
      code: "invalid_argument",
      param: "prompt",
      reason: "context_length_exceeded",
    });
    const chat = service.encodeChat([{ role: "user", content: text }], prompt);
    expect(await failure(chat)).toMatchObject({ param: "messages", reason: "context_length_exceeded" });
    expect(posted).toEqual(["open"]);
  });

  test("longer than the context once rendered", async () => {
    const { service, posted } = await start(bundledSource(), 10);
    const messages = Array.from({ length: 30 }, () => ({ role: "user", content: "hi" }));
    expect(await failure(service.encodeChat(messages, prompt))).toMatchObject({
      param: "messages",
      reason: "context_length_exceeded",
    });
    expect(posted).toEqual(["open", "chat"]);
  });

  test("by the template, or for want of one", async () => {
    const source = { ...sourceOf("gpt2"), chatTemplate: "{{ raise_exception('Roles must alternate') }}" };
    const { service } = await start(source, 100);
    expect(await failure(service.encodeChat([{ role: "user", content: "hi" }], prompt))).toMatchObject({
      code: "invalid_argument",
      param: "messages",
      reason: "chat_template_error",
      message: expect.stringContaining("Roles must alternate"),
    });
    const { service: without } = await start(sourceOf("gpt2"), 100);
    expect(without.hasChatTemplate).toBe(false);
    expect(await failure(without.encodeChat([], prompt))).toMatchObject({ reason: "chat_template_error" });
  });

  test("because no boundary lets the encoder take a breath; the next text is served", async () => {
    const { service, workers } = await start(sourceOf("llama3"), 1 << 17);
    expect(await failure(service.encode(`${" ".repeat(1_500_000)}a`, false))).toMatchObject({
      code: "invalid_argument",
      param: "prompt",
      reason: "text_not_tokenizable",
    });
    expect(await service.encode(long, false)).toEqual(service.tokenizer.encode(long, false));
    expect(workers()).toBe(2);
  });
});

test("a template that fills the memory is refused, and the next chat is served by the same Worker", async () => {
  const double =
    "{% set ns = namespace(x='ab') %}{% for i in range(40) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}";
  const chatTemplate = `{% if messages[0].content == 'double' %}${double}{% endif %}ok`;
  const { service, workers } = await start({ ...sourceOf("gpt2"), chatTemplate }, 1000);
  expect(await failure(service.encodeChat([{ role: "user", content: "double" }], prompt))).toMatchObject({
    code: "invalid_argument",
    reason: "chat_template_error",
    message: expect.stringContaining("builds more than"),
  });
  expect((await service.encodeChat([{ role: "user", content: "hi" }], prompt)).text).toBe("ok");
  expect(workers()).toBe(1);
});

test("a template without end is stopped; the requests behind it do not wait for that", async () => {
  const loops = "{% for i in r %}{% for j in r %}{% for k in r %}{% endfor %}{% endfor %}{% endfor %}";
  const loop = `{% set r = range(2000) %}${loops}`;
  const chatTemplate = `{% if messages[0].content == 'loop' %}${loop}{% endif %}ok`;
  const { service, workers } = await start({ ...sourceOf("gpt2"), chatTemplate }, 1000);
  const ended: string[] = [];
  const endless = failure(service.encodeChat([{ role: "user", content: "loop" }], prompt));
  void endless.then(() => ended.push("endless"));
  const behind = await service.encodeChat([{ role: "user", content: "hi" }], prompt);
  ended.push("behind");
  expect(behind.text).toBe("ok");
  expect(await endless).toMatchObject({ code: "invalid_argument", param: "messages", reason: "template_deadline" });
  expect(ended).toEqual(["behind", "endless"]);
  expect(workers()).toBe(2);
});

describe("Workers that fail", () => {
  const padded = (what: string) => what + " ".repeat(LIMITS.maxInlineTextChars);

  test.each(["crash", "exit"])("%s: the text is tried once more on a new Worker", async (what) => {
    const { service, workers } = await start(sourceOf("gpt2"), 1000, ["fake", "real"]);
    const text = padded(what);
    expect(await service.encode(text, false)).toEqual(service.tokenizer.encode(text, false));
    expect(workers()).toBe(2);
  });

  test("a text that ends two Workers is given up; the next is served", async () => {
    const { service, workers } = await start(sourceOf("gpt2"), 1000, ["fake"]);
    const failed = await failure(service.encode(padded("crash"), false));
    expect(failed).toMatchObject({ code: "internal", param: "prompt", final: true });
    expect(String(failed.cause)).toContain("crashed as asked");
    expect(await service.encode(padded("answer"), false)).toEqual(Int32Array.of(2));
    expect(workers()).toBe(3);
  });

  test("one whose memory has grown too large is replaced", async () => {
    const { service, workers } = await start(sourceOf("gpt2"), 1000, ["fake"]);
    expect(await service.encode(padded("answer"), false)).toEqual(Int32Array.of(2));
    expect(workers()).toBe(1);
    expect(await service.encode(padded("worn"), false)).toEqual(Int32Array.of(1));
    expect(workers()).toBe(2);
  });

  test("one that cannot start makes the service unavailable", async () => {
    expect(await failure(start(sourceOf("gpt2"), 0, ["fake"]))).toMatchObject({ code: "unavailable" });
  });
});

test("a tokenizer of an unknown kind is refused with its name", async () => {
  const source = jsonSource("test/fixtures/text/gpt2.tokenizer.json");
  const json = source.tokenizer.kind === "tokenizer_json" ? source.tokenizer.json : "";
  const unigram = json.replace('"type":"BPE"', '"type":"Unigram"');
  const tokenizer = { kind: "tokenizer_json" as const, json: unigram, config: "{}" };
  expect(createTextService({ ...source, tokenizer }, { maxModelLen: 10 })).rejects.toThrow(
    "'Unigram' is not supported",
  );
});
