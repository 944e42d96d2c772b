import { describe, expect, test } from "bun:test";
import { makeRng } from "../../../src/bench/stats/rng.ts";
import { HttpResponseParser, WireError } from "../../../src/bench/wire/http-response-parser.ts";
import { StreamReader } from "../../../src/bench/wire/stream-reader.ts";

interface Seen {
  status: number;
  headers: ReadonlyMap<string, string>;
  ended: boolean;
  reader: StreamReader;
}

/** Feeds a response in the given pieces, through both parsers, as a connection does. */
function readResponse(pieces: readonly Buffer[]): Seen {
  const reader = new StreamReader(true, { needle: undefined, offset: 0 });
  const seen: Seen = { status: 0, headers: new Map(), ended: false, reader };
  let nowMs = 0;
  const parser = new HttpResponseParser({
    onHead: (status, headers) => Object.assign(seen, { status, headers }),
    onBody: (buffer, start, end) => reader.push(buffer, start, end, nowMs),
    onEnd: () => {
      seen.ended = true;
    },
  });
  for (const piece of pieces) {
    nowMs++;
    parser.push(piece);
  }
  parser.close();
  reader.finish();
  return seen;
}

const chunked = (text: string): string => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
const event = (json: unknown): string => `data: ${JSON.stringify(json)}\n\n`;
const delta = (content: string): unknown => ({ id: "x", choices: [{ index: 0, delta: { content } }] });

// Text that looks like the protocol: quotes, the key itself, line breaks, characters of several bytes.
const TEXTS = ["Hello", ' "content":"', "\n\ndata: [DONE]\n\n", "wörld 🦙", "\\", "0\r\n\r\n"];
const EVENTS = [
  `: a comment\n\n`,
  event({ id: "x", choices: [{ index: 0, delta: { role: "assistant", content: "" } }] }),
  ...TEXTS.map((text) => event(delta(text))),
  event({ id: "x", choices: [{ index: 0, delta: {}, finish_reason: "length" }] }),
  event({ id: "x", choices: [], usage: { prompt_tokens: 7, completion_tokens: TEXTS.length } }),
  "data: [DONE]\n\n",
];
const HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const RESPONSE = Buffer.from(`${HEAD}${EVENTS.map(chunked).join("")}0\r\n\r\n`);

function expectWhole(seen: Seen): void {
  expect(seen.status).toBe(200);
  expect(seen.headers.get("content-type")).toBe("text/event-stream");
  expect(seen.ended).toBe(true);
  expect(seen.reader.state).toMatchObject({
    sawDone: true,
    finishReason: "length",
    usage: { promptTokens: 7, completionTokens: TEXTS.length },
    error: undefined,
  });
  expect(seen.reader.state.chunkMs).toHaveLength(TEXTS.length);
  expect(seen.reader.text()).toBe(TEXTS.join(""));
}

describe("a streamed completion", () => {
  test("is read alike wherever two reads cut it", () => {
    for (let cut = 0; cut <= RESPONSE.length; cut++)
      expectWhole(readResponse([RESPONSE.subarray(0, cut), RESPONSE.subarray(cut)]));
  });

  test("is read alike byte by byte and in random pieces", () => {
    expectWhole(readResponse(Array.from(RESPONSE, (_, at) => RESPONSE.subarray(at, at + 1))));
    for (let seed = 0; seed < 200; seed++) {
      const rng = makeRng(seed);
      const pieces: Buffer[] = [];
      for (let at = 0; at < RESPONSE.length; ) {
        const end = Math.min(RESPONSE.length, at + 1 + rng.integer(60));
        pieces.push(RESPONSE.subarray(at, end));
        at = end;
      }
      expectWhole(readResponse(pieces));
    }
  });

  test("is read alike when chunks cut events, and lines end in CRLF", () => {
    const body = EVENTS.join("").replaceAll("\n\n", "\r\n\r\n");
    for (const size of [1, 2, 7, 64, 1000]) {
      let text = HEAD;
      const bytes = Buffer.from(body);
      const pieces: Buffer[] = [Buffer.from(text)];
      for (let at = 0; at < bytes.length; at += size) {
        const part = bytes.subarray(at, at + size);
        pieces.push(Buffer.from(`${part.length.toString(16).toUpperCase()};ext=1\r\n`), part, Buffer.from("\r\n"));
      }
      text = "0\r\nTrailer: x\r\n\r\n";
      expectWhole(readResponse([Buffer.concat([...pieces, Buffer.from(text)])]));
    }
  });

  test("stamps each event with the read that completed it", () => {
    const [first, second] = [chunked(event(delta("a"))), chunked(event(delta("b")))];
    const cut = second.length - 6;
    const { reader } = readResponse([HEAD, first + second.slice(0, cut), second.slice(cut)].map((s) => Buffer.from(s)));
    expect(reader.state.chunkMs).toEqual([2, 3]);
  });

  test("takes usage and finish reason from a content event", () => {
    const last = {
      choices: [{ delta: { content: "b" }, finish_reason: "stop" }],
      usage: { prompt_tokens: 1, completion_tokens: 9 },
    };
    const body = event({ choices: [{ delta: { content: "a" } }] }) + event(last);
    const { reader, ended } = readResponse([
      Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`),
    ]);
    expect(ended).toBe(true);
    expect(reader.state).toMatchObject({ finishReason: "stop", usage: { completionTokens: 9 }, sawDone: false });
    expect(reader.state.chunkMs).toHaveLength(2);
  });

  test("counts completions, spaced JSON, reasoning and tool calls, and no empty text", () => {
    const bodies: Array<readonly [string, number]> = [
      [
        event({ choices: [{ text: "a" }] }) + event({ choices: [{ text: "" }] }) + event({ choices: [{ text: "b" }] }),
        2,
      ],
      ['data: {"choices": [{"delta": {"content": "a"}}]}\n\ndata: {"choices": [{"delta": {"content": ""}}]}\n\n', 1],
      [event({ choices: [{ delta: { reasoning_content: "a" } }] }) + event(delta("b")), 2],
      [
        event({ choices: [{ delta: { tool_calls: [{ index: 0 }] } }] }) +
          event({ choices: [{ delta: { tool_calls: [] } }] }),
        1,
      ],
    ];
    for (const [body, count] of bodies) {
      const { reader } = readResponse([Buffer.from(`HTTP/1.1 200 OK\r\n\r\n${body}`)]);
      expect(reader.state.chunkMs).toHaveLength(count);
    }
  });

  test("shares the place of the text between streams", () => {
    const place = { needle: undefined, offset: 0 };
    const bytes = Buffer.from(event(delta("a")));
    new StreamReader(false, place).push(bytes, 0, bytes.length, 1);
    const next = new StreamReader(false, place);
    next.push(bytes, 0, bytes.length, 1);
    const empty = Buffer.from(event(delta("")));
    next.push(empty, 0, empty.length, 1);
    expect(place.offset).toBe(bytes.indexOf('"content":"') - "data: ".length);
    expect(next.state.chunkMs).toHaveLength(1);
  });

  test("reports error events and events that are not JSON", () => {
    const read = (body: string) => readResponse([Buffer.from(`HTTP/1.1 200 OK\r\n\r\n${body}`)]).reader.state.error;
    expect(read(event(delta("a")) + event({ error: { message: "out of memory" } }))).toBe("out of memory");
    expect(read(event({ error: "plain" }))).toBe("plain");
    expect(read("data: {nonsense\n\n")).toBe("an event is not JSON");
  });
});

describe("HTTP responses", () => {
  const push =
    (text: string): (() => Seen) =>
    () =>
      readResponse([Buffer.from(text, "latin1")]);

  test("1xx responses are passed over, empty ones end at once", () => {
    const seen = push("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n")();
    expect(seen).toMatchObject({ status: 204, ended: true });
    expect(seen.headers.get("x-a")).toBe("b");
    expect(push("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")().ended).toBe(true);
  });

  test("a body without length ends with the connection; a sized or chunked one does not", () => {
    expect(push("HTTP/1.0 200 OK\r\n\r\nhello")().ended).toBe(true);
    expect(push("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")().ended).toBe(false);
    expect(push("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")().ended).toBe(false);
  });

  test("nonsense is an error, not a hang", () => {
    const wrong = [
      "SSH-2.0-OpenSSH\r\n",
      "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
      `HTTP/1.1 200 OK\r\nX: ${"a".repeat(100_000)}\r\n\r\n`,
    ];
    for (const text of wrong) expect(push(text)).toThrow(WireError);
  });

  test("an endless event is an error", () => {
    const reader = new StreamReader(false, { needle: undefined, offset: 0 });
    const piece = Buffer.alloc(1024 * 1024, "a");
    expect(() => {
      for (let i = 0; i < 10; i++) reader.push(piece, 0, piece.length, 0);
    }).toThrow(WireError);
  });
});
