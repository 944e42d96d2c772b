/**
 * A mock OpenAI endpoint with scripted times, over raw sockets and one 1 ms timer, so that it costs next to nothing and a
 * benchmark client can be measured against it:
 *
 *   bun bench/mock-server.ts --port 9000 --ttft-ms 20 --itl-ms 3
 *
 * A word is a token, and every chat has `MOCK_OVERHEAD_TOKENS` more. GET /stats tells when it really wrote.
 */
import { parseArgs } from "node:util";
import type { Socket } from "bun";
import { systemClock } from "../src/core/clock.ts";

export const MOCK_OVERHEAD_TOKENS = 3;

/** What the mock does to the n-th completion request instead of answering it. */
export type MockFault =
  | { kind: "status"; status: number; message: string }
  /** Closes the connection after this many events. */
  | { kind: "cut"; afterEvents: number }
  /** Sends an error event after this many events, then ends the stream. */
  | { kind: "error-event"; afterEvents: number }
  /** Never answers. */
  | { kind: "hang" };

export interface MockScript {
  port?: number;
  ttftMs?: number;
  itlMs?: number;
  /** Tokens that share an event, as speculative decoding makes them. */
  tokensPerEvent?: number;
  /** Without it `/tokenize` is 404 and only usage tells counts. */
  tokenize?: boolean;
  /** How often `/v1/models` is asked before it lists the model, as while one is loaded. */
  loadingAsks?: number;
  /** Whether `stream_options.include_usage` is obeyed. */
  usage?: boolean;
  /** Asked at every completion request, probes too. */
  fault?: (body: Readonly<Record<string, unknown>>) => MockFault | undefined;
}

export interface MockTiming {
  /** The beginning of the prompt, which tells the requests of a seeded workload apart. */
  prompt: string;
  readMs: number;
  firstWriteMs: number;
}

export interface MockServer {
  url: string;
  /** Bodies of the completion requests so far. */
  requests: Array<Record<string, unknown>>;
  /** When each answered request was read and its first event written, on the clock of all processes here. */
  timings: MockTiming[];
  stop(): void;
}

interface Stream {
  socket: Socket<Session>;
  event: Buffer;
  left: number;
  sent: number;
  dueMs: number;
  timing: MockTiming;
  usage: string;
  fault: MockFault | undefined;
}

interface Session {
  input: Buffer;
}

export function startMockServer(script: MockScript = {}): MockServer {
  const { ttftMs = 0, itlMs = 0, tokensPerEvent = 1, tokenize = true, usage = true, loadingAsks = 0, fault } = script;
  let asks = 0;
  const requests: MockServer["requests"] = [];
  const timings: MockTiming[] = [];
  let streams: Stream[] = [];

  const tick = setInterval(() => {
    if (streams.length === 0) return;
    const nowMs = systemClock.nowMs();
    let ended = false;
    for (const stream of streams) {
      while (stream.left > 0 && stream.dueMs <= nowMs) advance(stream);
      ended ||= stream.left <= 0;
    }
    if (ended) streams = streams.filter((stream) => stream.left > 0);
  }, 1);

  function advance(stream: Stream): void {
    const { socket, fault } = stream;
    if (fault !== undefined && "afterEvents" in fault && stream.sent >= fault.afterEvents) {
      if (fault.kind === "error-event")
        socket.write(`${chunk('data: {"error":{"message":"mock failure"}}\n\n')}0\r\n\r\n`);
      else socket.end();
      stream.left = 0;
      return;
    }
    socket.write(stream.event);
    if (stream.sent === 0) {
      stream.timing.firstWriteMs = sharedNowMs();
      timings.push(stream.timing);
    }
    stream.sent++;
    stream.left -= tokensPerEvent;
    // Due times are absolute, so that a late tick does not stretch the script.
    stream.dueMs += itlMs;
    if (stream.left <= 0) socket.write(`${chunk(`${stream.usage}data: [DONE]\n\n`)}0\r\n\r\n`);
  }

  function complete(socket: Socket<Session>, body: Record<string, unknown>, isChat: boolean): void {
    const number = requests.push(body) - 1;
    const nowMs = systemClock.nowMs();
    const readMs = sharedNowMs();
    const failure = fault?.(body);
    if (failure?.kind === "hang") return;
    if (failure?.kind === "status") {
      reply(socket, failure.status, { error: { message: failure.message } });
      return;
    }
    const tokens = Number(body.max_tokens ?? 16);
    const counts = { prompt_tokens: countTokens(body), completion_tokens: tokens };
    const head = `{"id":"mock-${number}","object":"mock","created":1,"model":"mock",`;
    const text = " word".repeat(tokensPerEvent);
    if (body.stream !== true) {
      const choice = isChat ? { message: { role: "assistant", content: text } } : { text };
      reply(socket, 200, { id: `mock-${number}`, choices: [{ index: 0, ...choice }], usage: counts });
      return;
    }
    const delta = isChat ? `"delta":{"content":"${text}"}` : `"text":"${text}"`;
    const asked = usage && body.stream_options !== undefined;
    const finish = `data: ${head}"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\n`;
    socket.write(
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" +
        (isChat ? chunk(`data: ${head}"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n`) : ""),
    );
    streams.push({
      socket,
      event: Buffer.from(chunk(`data: ${head}"choices":[{"index":0,${delta},"finish_reason":null}]}\n\n`)),
      left: tokens,
      sent: 0,
      dueMs: nowMs + ttftMs,
      timing: { prompt: promptStart(body), readMs, firstWriteMs: readMs },
      usage: finish + (asked ? `data: ${head}"choices":[],"usage":${JSON.stringify(counts)}}\n\n` : ""),
      fault: failure,
    });
  }

  function route(socket: Socket<Session>, path: string, text: string): void {
    const body: Record<string, unknown> = text === "" ? {} : JSON.parse(text);
    if (path === "/v1/models") reply(socket, 200, { data: asks++ < loadingAsks ? [] : [{ id: "mock" }] });
    else if (path === "/stats") reply(socket, 200, { timings });
    else if (path === "/tokenize" && tokenize) reply(socket, 200, { count: countTokens(body) });
    else if (path === "/v1/chat/completions") complete(socket, body, true);
    else if (path === "/v1/completions") complete(socket, body, false);
    else reply(socket, 404, { error: { message: "not found" } });
  }

  const server = Bun.listen<Session>({
    hostname: "127.0.0.1",
    port: script.port ?? 0,
    socket: {
      open(socket) {
        socket.data = { input: Buffer.alloc(0) };
        socket.setNoDelay(true);
      },
      data(socket, bytes) {
        let input = socket.data.input.length === 0 ? bytes : Buffer.concat([socket.data.input, bytes]);
        for (;;) {
          const headEnd = input.indexOf("\r\n\r\n");
          if (headEnd < 0) break;
          const head = input.toString("latin1", 0, headEnd);
          const end = headEnd + 4 + Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
          if (input.length < end) break;
          route(socket, head.split(" ", 2)[1] ?? "", input.toString("utf8", headEnd + 4, end));
          input = input.subarray(end);
        }
        socket.data.input = input;
      },
      close(socket) {
        streams = streams.filter((stream) => stream.socket !== socket);
      },
    },
  });
  return {
    url: `http://127.0.0.1:${server.port}`,
    requests,
    timings,
    stop: () => {
      clearInterval(tick);
      server.stop(true);
    },
  };
}

function countTokens(body: Record<string, unknown>): number {
  const words = (text: unknown): number => String(text).split(/\s+/).filter(Boolean).length;
  if (Array.isArray(body.messages))
    return body.messages.reduce((sum, message) => sum + words(message.content), MOCK_OVERHEAD_TOKENS);
  return words(body.prompt);
}

/** The monotonic clock, comparable between processes. */
export function sharedNowMs(): number {
  return performance.timeOrigin + performance.now();
}

/** Enough random words to be unique. */
export const PROMPT_KEY_CHARS = 80;

function promptStart(body: Record<string, unknown>): string {
  const text = Array.isArray(body.messages) ? body.messages[body.messages.length - 1]?.content : body.prompt;
  return String(text).slice(0, PROMPT_KEY_CHARS);
}

function chunk(text: string): string {
  return `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
}

function reply(socket: Socket<Session>, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  const head = `HTTP/1.1 ${status} Mock\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}`;
  socket.write(`${head}\r\n\r\n${text}`);
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      port: { type: "string", default: "0" },
      "ttft-ms": { type: "string", default: "0" },
      "itl-ms": { type: "string", default: "0" },
    },
  });
  const { url } = startMockServer({
    port: Number(values.port),
    ttftMs: Number(values["ttft-ms"]),
    itlMs: Number(values["itl-ms"]),
  });
  console.log(url);
}
