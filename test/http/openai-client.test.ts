import { expect, test } from "bun:test";
import OpenAI from "openai";
import { ServeError } from "../../src/core/errors.ts";
import { MODEL, TestServer } from "./test-server.ts";

const messages = [{ role: "user" as const, content: "Hi" }];

async function failure(call: PromiseLike<unknown>) {
  try {
    await call;
  } catch (error) {
    return error as InstanceType<typeof OpenAI.APIError>;
  }
  throw new Error("nothing failed");
}

test("a streamed chat of several turns", async () => {
  await using server = new TestServer({ keys: ["sk-one"] });
  const client = server.openai("sk-one");
  const history: OpenAI.ChatCompletionMessageParam[] = [];
  for (const turn of ["Hello", "Wie geht's?", "你好 👋"]) {
    history.push({ role: "user", content: turn });
    server.replica.script = () => ({ pieces: [...`echo: ${turn}`] });
    const stream = await client.chat.completions.create({ model: MODEL, messages: history, stream: true });
    let text = "";
    let finish: string | null | undefined;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      finish = chunk.choices[0]?.finish_reason ?? finish;
    }
    expect(text).toBe(`echo: ${turn}`);
    expect(finish).toBe("stop");
    history.push({ role: "assistant", content: text });
  }
  expect(server.text.rendered.at(-1)!.messages).toHaveLength(5);
});

test("the client's own accumulation of a stream, with usage and logprobs", async () => {
  await using server = new TestServer();
  const runner = server.openai().chat.completions.stream({
    model: MODEL,
    messages,
    n: 2,
    logprobs: true,
    top_logprobs: 1,
    stream_options: { include_usage: true },
  });
  const completion = await runner.finalChatCompletion();
  expect(completion.choices.map((choice) => choice.message.content)).toEqual(["Hello, world!", "Hello, world!"]);
  expect(completion.choices[1]!.logprobs!.content).toHaveLength(13);
  expect(completion.usage!.total_tokens).toBe(19 + 26);
});

test("completions, models, and a request id", async () => {
  await using server = new TestServer();
  const client = server.openai();
  const answer = await client.completions.create({ model: MODEL, prompt: "Hi", echo: true, logprobs: 1 });
  expect(answer.choices[0]!.text).toBe("HiHello, world!");
  expect(answer.choices[0]!.logprobs!.tokens).toHaveLength(16);
  expect(answer._request_id).toMatch(/^req-/);
  let text = "";
  for await (const chunk of await client.completions.create({ model: MODEL, prompt: "Hi", stream: true })) {
    text += chunk.choices[0]?.text ?? "";
  }
  expect(text).toBe("Hello, world!");
  expect((await client.models.list()).data.map((model) => model.id)).toEqual([MODEL]);
  expect((await client.models.retrieve(MODEL)).id).toBe(MODEL);
});

test("errors arrive as the client's own classes", async () => {
  await using server = new TestServer({ keys: ["sk-one"] });
  const client = server.openai("sk-one");
  const wrongKey = await failure(server.openai("sk-two").chat.completions.create({ model: MODEL, messages }));
  expect(wrongKey).toBeInstanceOf(OpenAI.AuthenticationError);
  const unknown = await failure(client.chat.completions.create({ model: "gpt-4", messages }));
  expect(unknown).toBeInstanceOf(OpenAI.NotFoundError);
  const invalid = await failure(client.chat.completions.create({ model: MODEL, messages, temperature: 3 }));
  expect(invalid).toBeInstanceOf(OpenAI.BadRequestError);
  expect(invalid).toMatchObject({ status: 400, param: "temperature", type: "invalid_request_error" });
});

test("a request that must not be tried again is sent once; other failures are retried", async () => {
  await using server = new TestServer();
  const client = server.openai().withOptions({ maxRetries: 1 });
  for (const [final, times] of [
    [true, 1],
    [false, 2],
  ] as const) {
    const error = new ServeError("internal", "The engine failed repeatedly.", { final });
    server.replica.script = () => ({ pieces: [], failAt: { step: -1, error } });
    for (const stream of [true, false]) {
      server.replica.requests.length = 0;
      const failed = await failure(client.chat.completions.create({ model: MODEL, messages, stream }));
      expect(failed).toBeInstanceOf(OpenAI.InternalServerError);
      expect(server.replica.requests.length).toBe(times);
    }
  }
}, 15_000);

test("an error in mid-stream is thrown, after what came before it", async () => {
  await using server = new TestServer();
  server.replica.script = () => ({ pieces: ["a", "b"], failAt: { step: 1, error: new Error("secret") } });
  const stream = await server.openai().chat.completions.create({ model: MODEL, messages, stream: true });
  let text = "";
  const reading = (async () => {
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
  })();
  await expect(reading).rejects.toThrow("The server met an internal error.");
  await reading.catch(() => {});
  expect(text).toBe("a");
});

test("breaking out of a stream, or aborting it, frees its slot", async () => {
  await using server = new TestServer();
  server.replica.script = () => ({
    pieces: ["a", "never"],
    before: (step) => (step === 1 ? new Promise(() => {}) : undefined),
  });
  const client = server.openai();
  for await (const chunk of await client.chat.completions.create({ model: MODEL, messages, stream: true })) {
    if (chunk.choices[0]?.delta.content === "a") break;
  }
  await server.replica.until(() => server.replica.aborted === 1 && server.replica.running === 0);
  const abort = new AbortController();
  const answer = client.chat.completions.create({ model: MODEL, messages }, { signal: abort.signal });
  answer.catch(() => {});
  await server.replica.until(() => server.replica.running === 1);
  abort.abort();
  await server.replica.until(() => server.replica.aborted === 2 && server.replica.running === 0);
  await expect(Promise.resolve(answer)).rejects.toThrow();
});

test("sixteen streams at once, each with its own text", async () => {
  await using server = new TestServer();
  server.replica.script = (request) => ({ pieces: [...request.promptText!.slice(6, 10)] });
  const client = server.openai();
  const texts = await Promise.all(
    Array.from({ length: 16 }, async (_, i) => {
      const content = `${1000 + i}`;
      let text = "";
      const body = { model: MODEL, messages: [{ role: "user" as const, content }], stream: true as const };
      for await (const chunk of await client.chat.completions.create(body))
        text += chunk.choices[0]?.delta.content ?? "";
      return text;
    }),
  );
  expect(texts).toEqual(Array.from({ length: 16 }, (_, i) => `${1000 + i}`));
});
