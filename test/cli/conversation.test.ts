import { afterEach, expect, test } from "bun:test";
import { connectChat } from "../../src/cli/chat-client.ts";
import { Conversation, type ConversationEvent } from "../../src/cli/conversation.ts";
import { type ChatRequest, type Scripted, scriptedServer } from "./scripted-server.ts";

const servers: ReturnType<typeof scriptedServer>[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.stop()));
});

async function conversationWith(answer: (request: ChatRequest, index: number) => Scripted, maxModelLen?: number) {
  const server = scriptedServer(answer, maxModelLen);
  servers.push(server);
  const conversation = new Conversation(await connectChat(server.url, undefined, undefined), "be kind", {});
  return { server, conversation };
}

async function ask(conversation: Conversation, question: string, signal = new AbortController().signal) {
  const events: ConversationEvent[] = [];
  for await (const event of conversation.ask(question, signal)) events.push(event);
  const text = events.map((event) => (event.type === "text" ? event.text : "")).join("");
  const forgotten = events.reduce((sum, event) => sum + (event.type === "forgotten" ? event.numTurns : 0), 0);
  return { text, forgotten };
}

const contents = (request: ChatRequest) => request.messages.map(({ content }) => content);
const echo = (request: ChatRequest): Scripted => ({
  tokens: ["re: ", request.messages.at(-1)!.content],
  promptTokens: 10,
});
const full: Scripted = {
  status: 400,
  error: { message: "maximum context length is 100", code: "context_length_exceeded" },
};

test("keeps questions and answers, after the system message", async () => {
  const { server, conversation } = await conversationWith(echo);
  expect((await ask(conversation, "one")).text).toBe("re: one");
  await ask(conversation, "two");
  expect(contents(server.requests[1]!)).toEqual(["be kind", "one", "re: one", "two"]);
  conversation.clear();
  await ask(conversation, "three");
  expect(contents(server.requests[2]!)).toEqual(["be kind", "three"]);
});

test("forgets the oldest turns when the server says that its context is full, and goes on", async () => {
  // Room for two turns and a question.
  const { server, conversation } = await conversationWith((request) =>
    request.messages.length > 6 ? full : echo(request),
  );
  const forgotten: number[] = [];
  for (let i = 0; i < 12; i++) {
    const { text, forgotten: turns } = await ask(conversation, `question ${i}`);
    expect(text).toBe(`re: question ${i}`);
    forgotten.push(turns);
  }
  expect(forgotten.slice(0, 3)).toEqual([0, 0, 0]);
  expect(forgotten.some((turns) => turns > 0)).toBe(true);
  const last = contents(server.requests.at(-1)!);
  expect([last[0], last.at(-1)]).toEqual(["be kind", "question 11"]);
});

test("makes room before the context is full, so that an answer is not cut", async () => {
  // Each turn takes 100 of 1,000 tokens.
  const { conversation } = await conversationWith(
    (request) => ({ tokens: ["ok"], promptTokens: 99 + 100 * ((request.messages.length - 2) / 2) }),
    1000,
  );
  let forgotten = 0;
  for (let i = 0; i < 9; i++) forgotten += (await ask(conversation, "q")).forgotten;
  expect(forgotten).toBeGreaterThan(0);
  expect(conversation.numTurns * 100).toBeLessThanOrEqual(850);
});

test("a message too long for any context is told, and leaves the conversation as it was", async () => {
  const { server, conversation } = await conversationWith((request) =>
    request.messages.at(-1)!.content === "long" ? full : echo(request),
  );
  await ask(conversation, "one");
  expect(ask(conversation, "long")).rejects.toThrow(
    "the message does not fit the model: maximum context length is 100",
  );
  await Bun.sleep(0);
  while (server.requests.length < 3) await Bun.sleep(1);
  expect((await ask(conversation, "two")).text).toBe("re: two");
});

test.each<[string, Scripted, RegExp]>([
  ["a refusal", { status: 503, error: { message: "busy" } }, /answered 503: busy$/],
  ["a broken stream", { tokens: ["half an ans"], cut: true }, /broke off: /],
])("a turn that fails by %s leaves no trace", async (_name, failure, message) => {
  const { server, conversation } = await conversationWith((request, i) => (i === 1 ? failure : echo(request)));
  await ask(conversation, "one");
  await expect(ask(conversation, "bad")).rejects.toThrow(message);
  await ask(conversation, "two");
  expect(contents(server.requests[2]!)).toEqual(["be kind", "one", "re: one", "two"]);
});

test("a stopped answer is kept as far as it came; one that never began is not", async () => {
  const { server, conversation } = await conversationWith((request, i) =>
    i === 0 ? { tokens: ["a", "b", "c", "d"], promptTokens: 1, pauseMs: 50 } : echo(request),
  );
  const stop = new AbortController();
  for await (const event of conversation.ask("one", stop.signal)) if (event.type === "text") stop.abort();
  await expect(ask(conversation, "two", AbortSignal.abort())).rejects.toThrow();
  await ask(conversation, "three");
  expect(contents(server.requests.at(-1)!)).toEqual(["be kind", "one", "a", "three"]);
});

test("a server that is gone is a sentence without its address when the model was loaded here", async () => {
  const { server } = await conversationWith(echo);
  await server.stop();
  const endpoint = { url: server.url, apiKey: "k", model: "m", label: "the model", maxModelLen: undefined };
  const error = await ask(new Conversation(endpoint, undefined, {}), "hi").catch((thrown: Error) => thrown);
  expect((error as Error).message).toBe("cannot reach the model: nothing listens there");
});
