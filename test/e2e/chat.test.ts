import { afterEach, expect, test } from "bun:test";
import { type ChatRequest, type Scripted, scriptedServer } from "../cli/scripted-server.ts";
import { BINARY } from "./binary.ts";

/** Hang guard. */
const GUARD_MS = 20_000;

const ends: Array<() => unknown> = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

function serverWith(answer: (request: ChatRequest, index: number) => Scripted, maxModelLen?: number) {
  const server = scriptedServer(answer, maxModelLen);
  ends.push(server.stop);
  return server;
}

/** `scalellm chat` at a terminal of 40 columns. */
function terminalChat(url: string) {
  let text = "";
  const decoder = new TextDecoder();
  const terminal = { cols: 40, rows: 24, data: (_: unknown, bytes: Uint8Array) => (text += decoder.decode(bytes)) };
  const child = Bun.spawn([BINARY, "chat", "--url", url], {
    terminal,
    env: { PATH: process.env.PATH ?? "", TERM: "xterm", NO_COLOR: "1" },
  });
  ends.push(() => child.kill("SIGKILL"));
  let read = 0;
  return {
    child,
    type: (keys: string) => child.terminal!.write(keys),
    /** What the terminal got since the last call, up to and with `end`; escape sequences are left out. */
    async until(end: string | RegExp): Promise<string> {
      const startMs = performance.now();
      for (;;) {
        // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what a terminal gets
        const plain = text.replace(/\x1b\[[?\d;]*[A-Za-z]/g, "").replaceAll("\r\n", "\n");
        const rest = plain.slice(read);
        const found = typeof end === "string" ? rest.indexOf(end) : rest.search(end);
        if (found >= 0) {
          const stop = found + (typeof end === "string" ? end.length : end.exec(rest)![0].length);
          read += stop;
          return rest.slice(0, stop);
        }
        if (performance.now() > startMs + GUARD_MS) throw new Error(JSON.stringify([end, rest]));
        if (child.exitCode !== null) throw new Error(`chat ended: ${plain}`);
        await Bun.sleep(5);
      }
    },
  };
}

const echo = (request: ChatRequest): Scripted => ({
  tokens: ["You said: ", request.messages.at(-1)!.content],
  promptTokens: 9,
});

test("a terminal: words are wrapped, speed is told, options are set, pasted lines are one message", async () => {
  const server = serverWith((request, i) =>
    i === 0
      ? { tokens: ["word ".repeat(12), "日本語の長い文章です。".repeat(4)], promptTokens: 9, pauseMs: 5 }
      : echo(request),
  );
  const chat = terminalChat(server.url);
  await chat.until("/help lists the commands");
  await chat.until("> ");
  chat.type("hello\r");
  const answer = await chat.until(/2 tokens, \d.* tokens\/s\n/);
  const lines = answer.split("\n").slice(1, -2);
  expect(lines.length).toBeGreaterThan(3);
  for (const line of lines) expect(Bun.stringWidth(line)).toBeLessThanOrEqual(40);
  await chat.until("> ");
  chat.type("/set temperature 0.5\r");
  await chat.until("temperature is 0.5.");
  chat.type("\x1b[200~first line\rsecond line\x1b[201~");
  await chat.until("second line");
  expect(server.requests).toHaveLength(1);
  chat.type(" and more\r");
  await chat.until("You said: first line\nsecond line and more");
  expect(server.requests[1]).toMatchObject({ temperature: 0.5, stream_options: { include_usage: true } });
  expect(server.requests[1]!.messages.at(-1)!.content).toBe("first line\nsecond line and more");
  chat.type("one \\\rtwo\r");
  await chat.until("You said: one\ntwo");
  chat.type("/exit\r");
  expect(await chat.child.exited).toBe(0);
});

test("keys and a resize during an answer leave it whole; what was typed comes with the next prompts, in order", async () => {
  const server = serverWith((request, i) =>
    i === 0 ? { tokens: Array(200).fill("more "), promptTokens: 1, pauseMs: 5 } : echo(request),
  );
  const chat = terminalChat(server.url);
  await chat.until("> ");
  chat.type("go on\r");
  let answer = await chat.until("more more");
  chat.type("second");
  answer += await chat.until("more ");
  chat.child.terminal!.resize(30, 24);
  chat.child.kill("SIGWINCH");
  answer += await chat.until("more ");
  chat.type(" question\rthi");
  answer += await chat.until("200 tokens");
  expect(answer.split("more")).toHaveLength(201);
  expect(answer).not.toMatch(/> |second|thi/);
  expect(await chat.until("You said: second question\n")).toContain("> second question\n");
  await chat.until("> thi");
  chat.type("rd\r");
  await chat.until("You said: third\n");
  chat.type("/exit\r");
  expect(await chat.child.exited).toBe(0);
});

test("Ctrl-C stops the answer, drops what is typed, and leaves when pressed twice", async () => {
  const server = serverWith((request, i) =>
    i === 0 ? { tokens: Array(10_000).fill("more "), promptTokens: 1, pauseMs: 5 } : echo(request),
  );
  const chat = terminalChat(server.url);
  await chat.until("> ");
  chat.type("go on\r");
  await chat.until("more more");
  chat.type("\x03");
  await chat.until("stopped\n");
  await chat.until("> ");
  chat.type("half a sentence");
  await chat.until("half a sentence");
  chat.type("\x03");
  await chat.until("\n");
  chat.type("hi\r");
  await chat.until("You said: hi");
  chat.type("\x03");
  await chat.until("Ctrl-C again");
  chat.type("\x03");
  expect(await chat.child.exited).toBe(0);
});

test("a terminal gets no control characters from a model or a server, a pipe gets what was sent", async () => {
  const HOSTILE = "a\x1b]0;title\x07b\x1b[2Jc\x9b2Jd\re\x08\tf";
  const server = serverWith((_, i) =>
    i % 2 === 0 ? { tokens: [HOSTILE], promptTokens: 1 } : { status: 500, error: { message: HOSTILE } },
  );
  const chat = terminalChat(server.url);
  await chat.until("> ");
  chat.type("hi\r");
  const clean = "a\ufffd]0;title\ufffdb\ufffd[2Jc\ufffd2Jde\ufffd\tf";
  await chat.until(clean);
  await chat.until("> ");
  chat.type("hi\r");
  await chat.until(`answered 500: ${clean}`);
  chat.type("/exit\r");
  expect(await chat.child.exited).toBe(0);
  expect((await pipeChat(server.url, "hi")).out).toBe(`${HOSTILE}\n`);
});

async function pipeChat(url: string, input: string) {
  const child = Bun.spawn([BINARY, "chat", "--url", url], { stdio: [new Blob([input]), "pipe", "pipe"] });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { code: await child.exited, out, err };
}

test("a pipe: answers alone on standard output", async () => {
  const server = serverWith(echo);
  const { code, out, err } = await pipeChat(server.url, "one\n/set seed 7\n\ntwo");
  expect([code, out]).toEqual([0, "You said: one\nYou said: two\n"]);
  expect(err).toBe("seed is 7.\n");
  expect(server.requests[1]).toMatchObject({ seed: 7 });
});

test("a full context forgets the oldest turns and says so; a failed turn is dropped", async () => {
  const server = serverWith((request, i) => {
    if (i === 2) return { status: 500, error: { message: "out of luck" } };
    const error = { message: "too long", code: "context_length_exceeded" };
    return request.messages.length > 3 ? { status: 400, error } : echo(request);
  });
  const { code, out, err } = await pipeChat(server.url, "one\ntwo\nbad\nthree\nfour\n");
  expect(out).toBe("You said: one\nYou said: two\n\nYou said: three\nYou said: four\n");
  expect(err).toContain("answered 500: out of luck (the message is dropped)");
  expect(err).toContain("the model's context is full: the oldest question and its answer are forgotten");
  expect(code).toBe(1);
});

test("a model loaded here: its own address is never shown, and a context of any size never ends the chat", async () => {
  const lines = Array.from({ length: 12 }, (_, i) => `Tell me about the number ${i}.`).join("\n");
  const child = Bun.spawn(
    [BINARY, "chat", "--max-model-len", "128", "--kv-cache-memory", "64MiB", "--max-tokens", "24"],
    {
      stdio: [new Blob([`${lines}\n${"long ".repeat(400)}\nAnd now?\n`]), "pipe", "pipe"],
    },
  );
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  expect(await child.exited).toBe(1); // one message failed
  expect(err).toContain("forgotten");
  expect(err).toContain("the message does not fit the model: ");
  expect(out + err).not.toContain("127.0.0.1");
  expect(out.trimEnd().endsWith("\n")).toBe(false);
}, 60_000);
