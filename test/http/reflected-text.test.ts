import { expect, test } from "bun:test";
import { createConnectHandler } from "../../src/http/connect/create-connect-handler.ts";
import { ChatTemplate } from "../../src/text/chat-template.ts";
import { API_KEY, createFixture, MODEL as SCRIPTED } from "./connect-fixture.ts";
import { RawClient } from "./raw-client.ts";
import { MODEL, TestServer } from "./test-server.ts";

const LONG = "n".repeat(300_000);
/** As a client writes it: JSON.stringify would escape the backslash. */
const LONE = "\\ud800";

const messages = '"messages":[{"role":"user","content":"Hi"}]';
/** Requests whose answer repeats a text of theirs. */
const repeating = (text: string): Array<readonly [string, string]> => [
  ["/v1/chat/completions", `{"model":"${text}",${messages}}`],
  ["/v1/completions", `{"model":"${text}","prompt":"a"}`],
  ["/tokenize", `{"model":"${text}","prompt":"a"}`],
  ["/detokenize", `{"model":"${text}","tokens":[1]}`],
  ["/v1/completions", `{"model":"${MODEL}","prompt":"a","logit_bias":{"${text}":1}}`],
  ["/v1/completions", `{"model":"${MODEL}","prompt":"a","logit_bias":{"${"1".repeat(text.length)}":"x"}}`],
  ["/v1/completions", `{"model":"${MODEL}","prompt":"a","logit_bias":{"${"1".repeat(text.length)}":null}}`],
  ["/v1/chat/completions", `{"model":"${MODEL}","messages":[{"role":"u","content":[{"type":"${text}"}]}]}`],
  ["/v1/chat/completions", `{"model":"${MODEL}",${text}}`],
  ["/v1/chat/completions", `"${text}`],
  ["/v1/completions", `{"model":"${MODEL}","prompt":"a","stop":"${text}"}`],
  ["/v1/completions", `{"model":"${MODEL}","prompt":"a","stream":true,"response_format":{"type":"${text}"}}`],
];

/** What strict parsers refuse: a lone surrogate, escaped or not. */
function loneSurrogate(text: string): string | undefined {
  const pairs = text.replace(/\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}/g, "");
  return /\\u[dD][89a-fA-F][0-9a-fA-F]{2}/.exec(pairs)?.[0] ?? (text.isWellFormed() ? undefined : "unescaped");
}

test("a text of a request comes back short, in the answer and in the log", async () => {
  await using server = new TestServer();
  for (const [path, body] of repeating(LONG)) {
    const answer = await (await server.post(path, body)).text();
    expect(answer.length).toBeLessThan(800);
    expect(JSON.parse(answer).error.message).toBeString();
  }
  for (const path of [
    `/v1/models/${LONG.slice(0, 12_000)}`,
    `/${LONG.slice(0, 12_000)}`,
    "/tokenize".padEnd(9000, "?"),
  ]) {
    expect((await (await fetch(server.url + path)).text()).length).toBeLessThan(800);
  }
  expect(JSON.stringify(server.log).length).toBeLessThan(server.log.length * 1500);
});

test("every answer is well-formed, and so is what it echoes by design", async () => {
  await using server = new TestServer({ limits: { maxChoices: 4 } });
  for (const [path, body] of repeating(LONE)) {
    const answer = await (await server.post(path, body)).text();
    expect({ body, lone: loneSurrogate(answer) }).toEqual({ body, lone: undefined });
  }
  for (const stream of [false, true]) {
    const prompt = `a${LONE}\\udc00\\udc00b\\ud83d\\ude00`;
    const body = `{"model":"${MODEL}","prompt":["${prompt}"],"echo":true,"stream":${stream}}`;
    const answer = await (await server.post("/v1/completions", body)).text();
    expect(loneSurrogate(answer)).toBeUndefined();
    expect(answer).toContain("a\u{10000}\ufffdb\u{1f600}");
  }
  // Found inside a character it would cut that in two.
  server.replica.script = () => ({ pieces: ["\u{1f600}"] });
  const stopped = await server.complete({ prompt: "a", stop: "\ude00" });
  expect(loneSurrogate(await stopped.text())).toBeUndefined();
});

test("a key that is no name of a JavaScript object's own is a field like any other", async () => {
  await using server = new TestServer();
  const body = `{"model":"${MODEL}","prompt":"${LONE}","${LONE}":1,"__proto__":{"model":"${LONE}"},"echo":true}`;
  expect((await server.post("/v1/completions", body)).status).toBe(200);
});

test("a request id of a client is short and printable, or is not taken", async () => {
  await using server = new TestServer();
  for (const id of ["i".repeat(5000), "a\x01b", "caf\xe9"]) {
    const client = await RawClient.connect(server.url);
    client.write(Buffer.from(`GET /health HTTP/1.1\r\nhost: test\r\nx-request-id: ${id}\r\n\r\n`, "latin1"));
    await client.until("\r\n\r\n");
    expect(client.received.length).toBeLessThan(500);
    client.destroy();
  }
});

test("a template's own words may be a client's", () => {
  const template = new ChatTemplate("{{ raise_exception('No role ' ~ messages[0].role) }}", {});
  const render = () =>
    template.render([{ role: "\ud800".repeat(100_000), content: "" }], { addGenerationPrompt: false });
  let message = "";
  try {
    render();
  } catch (error) {
    message = (error as Error).message;
  }
  expect(message).toContain("No role");
  expect(message.length).toBeLessThan(400);
  expect(message.isWellFormed()).toBe(true);
});

test("RPC errors repeat as little: in messages, details, trailers and the log", async () => {
  const { deps, logged } = createFixture({ refusalLinesPerSecond: 1000 });
  await using server = new TestServer({ connectHandler: createConnectHandler(deps) });
  const call = (method: string, body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string>) =>
    fetch(`${server.url}/scalellm.v1.InferenceService/${method}`, {
      method: "POST",
      body,
      headers: { "x-api-key": API_KEY, ...headers },
    });
  const envelope = (json: string) => {
    const bytes = Buffer.from(json);
    const frame = new Uint8Array(5 + bytes.length);
    new DataView(frame.buffer).setUint32(1, bytes.length);
    frame.set(bytes, 5);
    return frame;
  };
  for (const text of [LONG, LONE, `${LONE}${LONE.repeat(90)}`]) {
    for (const json of [
      `{"model":"${text}","text":"a"}`,
      `{"model":"${SCRIPTED}","text":"a","n":"${text}"}`,
      `{"model":"${SCRIPTED}","text":"a","sampling":{"logit_bias":{"${text}":1}}}`,
      `{"model":"${SCRIPTED}",${text}}`,
      `{"model":"${SCRIPTED}","chat":{"messages":[{"role":"u","content":"a"}],"template_variables":"${text}"}}`,
    ]) {
      const answers = [
        await call("Complete", json, { "content-type": "application/json" }),
        await call("Generate", envelope(json), { "content-type": "application/connect+json" }),
        await call("Generate", envelope(json), { "content-type": "application/grpc-web+json" }),
      ];
      for (const answer of answers) {
        const body = await answer.text();
        const head = answer.headers.get("grpc-message") ?? "";
        const where = `${answer.headers.get("content-type")} ${json.slice(0, 60)}`;
        const short = body.length < 2000 && head.length < 2000;
        expect({ where, short, lone: loneSurrogate(body) }).toEqual({ where, short: true, lone: undefined });
        expect({ where, failed: /"?code"?|grpc-status: [^0]/.test(body + head) }).toEqual({ where, failed: true });
      }
    }
  }
  // Protocol headers come back in messages of Connect's own.
  for (const [name, type] of [
    ["content-encoding", "application/json"],
    ["connect-timeout-ms", "application/json"],
    ["connect-protocol-version", "application/json"],
    ["connect-content-encoding", "application/connect+json"],
    ["grpc-encoding", "application/grpc-web+proto"],
    ["grpc-timeout", "application/grpc-web+json"],
  ] as const) {
    const answer = await call("Complete", "{}", { "content-type": type, [name]: LONG.slice(0, 9000) });
    const length = (await answer.text()).length + (answer.headers.get("grpc-message") ?? "").length;
    expect({ name, short: length < 2000 }).toEqual({ name, short: true });
  }
  // Half a character is none: protobuf's strings are UTF-8.
  const half = `{"model":"${SCRIPTED}","text":"a","sampling":{"stop":["\\ude00"]}}`;
  expect((await call("Complete", half, { "content-type": "application/json" })).status).toBe(400);
  expect(JSON.stringify(logged).length).toBeLessThan(logged.length * 1500);
});
