import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import OpenAI from "openai";
import { MODEL_NAME, type RunningBinary, startBinary } from "./binary.ts";

interface Chat {
  messages: { role: "system" | "user" | "assistant"; content: string }[];
  ids: number[];
  /** The float32 greedy continuation, and each step's top-1 minus top-2 logit. */
  greedy: number[];
  margins: number[];
}
const reference = JSON.parse(readFileSync("test/fixtures/reference/reference.json", "utf8")) as { chats: Chat[] };

let server: RunningBinary;
let client: OpenAI;
beforeAll(async () => {
  server = await startBinary();
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
});
afterAll(async () => {
  expect(await server.stop()).toBe(0);
});

test("lists the bundled model", async () => {
  const models = await client.models.list();
  expect(models.data.map((model) => model.id)).toEqual([MODEL_NAME]);
});

test("answers a question and ends by itself", async () => {
  const answer = await client.chat.completions.create({
    model: MODEL_NAME,
    // The reference's answer with the widest margins: no precision served here changes a token of it.
    messages: [{ role: "user", content: "What is 2+2?" }],
    temperature: 0,
    max_tokens: 200,
  });
  expect(answer.choices[0]!.message.content).toBe("The answer to this classic math problem is 4.");
  expect(answer.choices[0]!.finish_reason).toBe("stop");
});

test("a streamed conversation of several turns equals the same turns unstreamed", async () => {
  const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: "user", content: "Name three rivers in Europe." }];
  for (const next of ["Which is the longest?", "Thank you!"]) {
    const options = { model: MODEL_NAME, messages, temperature: 0, max_tokens: 40 };
    const stream = await client.chat.completions.create({
      ...options,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    let usage: OpenAI.CompletionUsage | null | undefined;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      usage = chunk.usage ?? usage;
    }
    const whole = await client.chat.completions.create(options);
    expect(text).toBe(whole.choices[0]!.message.content!);
    expect(text.length).toBeGreaterThan(0);
    expect(usage!.completion_tokens).toBe(whole.usage!.completion_tokens);
    expect(usage!.total_tokens).toBe(usage!.prompt_tokens + usage!.completion_tokens);
    messages.push({ role: "assistant", content: text }, { role: "user", content: next });
  }
});

test("16 streams at once give what each gives alone", async () => {
  const ask = async (i: number) => {
    const stream = await client.chat.completions.create({
      model: MODEL_NAME,
      messages: [{ role: "user", content: `Count to ${i + 3}.` }],
      stream: true,
      seed: i,
      temperature: i % 2,
      max_tokens: 24,
    });
    let text = "";
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
    return text;
  };
  const together = await Promise.all(Array.from({ length: 16 }, (_, i) => ask(i)));
  for (let i = 0; i < 16; i += 3) expect(await ask(i)).toBe(together[i]!);
});

test("the reference chats are tokenised exactly, and continued greedily while the margin allows", async () => {
  // int8 activations move logits by a few tenths: below this margin the top token may differ.
  const SURE_MARGIN = 1;
  for (const chat of reference.chats) {
    const unsure = chat.margins.findIndex((margin) => margin < SURE_MARGIN);
    const sure = chat.greedy.slice(0, unsure < 0 ? undefined : unsure);
    const answer = await client.chat.completions.create({
      model: MODEL_NAME,
      messages: chat.messages,
      temperature: 0,
      max_tokens: chat.greedy.length,
    });
    expect(answer.usage!.prompt_tokens).toBe(chat.ids.length);
    const detokenized = await fetch(`${server.url}/detokenize`, {
      method: "POST",
      body: JSON.stringify({ model: MODEL_NAME, tokens: sure }),
      headers: { "content-type": "application/json" },
    });
    const { prompt } = (await detokenized.json()) as { prompt: string };
    expect(answer.choices[0]!.message.content).toStartWith(prompt);
  }
});

test("a wrong model, parameter and body are the API's own errors", async () => {
  const failure = async (body: Record<string, unknown>) => {
    try {
      await client.chat.completions.create(body as unknown as OpenAI.ChatCompletionCreateParamsNonStreaming);
    } catch (error) {
      if (error instanceof OpenAI.APIError) return { status: error.status, param: error.param, code: error.code };
      throw error;
    }
    throw new Error("no error");
  };
  const messages = [{ role: "user", content: "Hi" }];
  expect(await failure({ model: "nope", messages })).toEqual({ status: 404, param: "model", code: "model_not_found" });
  expect(await failure({ model: MODEL_NAME, messages, temperature: "hot" })).toMatchObject({
    status: 400,
    param: "temperature",
  });
  expect(await failure({ model: MODEL_NAME, messages: [{ role: "user", content: 3 }] })).toMatchObject({
    status: 400,
    param: "messages[0].content",
  });
  expect(
    await failure({ model: MODEL_NAME, messages: [{ role: "user", content: "word ".repeat(20_000) }] }),
  ).toMatchObject({
    status: 400,
    code: "context_length_exceeded",
  });
});

test("a client that leaves frees its slot", async () => {
  const running = async () => {
    const text = await (await fetch(`${server.url}/metrics`)).text();
    return Number(/^scalellm:num_requests_running(?:\{[^}]*\})? (\S+)$/m.exec(text)![1]);
  };
  const abort = new AbortController();
  const stream = await client.completions.create(
    { model: MODEL_NAME, prompt: "Once upon a time", max_tokens: 4000, ignore_eos: true, stream: true } as never,
    { signal: abort.signal },
  );
  for await (const _ of stream as unknown as AsyncIterable<unknown>) break;
  abort.abort();
  for (let i = 0; i < 500 && (await running()) > 0; i++) await Bun.sleep(10);
  expect(await running()).toBe(0);
});
