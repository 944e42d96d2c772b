/**
 * What Bun's own HTTP server does with requests that HTTP allows, and no code of ours can change: the chapter "What lies in
 * Bun" of src/ARCHITECTURE.md. Each test is about a bare Bun.serve. When one fails after an upgrade of Bun, Bun has changed:
 * see whether the fault is gone, and bring that chapter up to date.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { RawClient } from "./raw-client.ts";
import { frame, headerBlock, post, RawHttp2 } from "./raw-http2.ts";
import { TestServer } from "./test-server.ts";

const GET = "GET /fast HTTP/1.1\r\nhost: localhost\r\n\r\n";
const postTo = (path: string): string => `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\nhi`;

describe("HTTP/1.1", () => {
  let server: ReturnType<typeof Bun.serve>;
  let cut: string[];

  beforeAll(() => {
    server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      async fetch(request) {
        const { pathname } = new URL(request.url);
        request.signal.addEventListener("abort", () => cut.push(pathname));
        await request.text();
        if (pathname === "/slow") await Bun.sleep(100);
        return pathname === "/stream" ? new Response(events()) : new Response("done\n");
      },
    });
  });
  afterAll(() => server.stop(true));

  function events(): ReadableStream<string> {
    let count = 0;
    return new ReadableStream({
      async pull(controller) {
        controller.enqueue(`data: ${count}\n\n`);
        if (++count === 100) controller.close();
        await Bun.sleep(20);
      },
    });
  }

  async function send(...pieces: string[]): Promise<RawClient> {
    cut = [];
    const client = await RawClient.connect(`http://127.0.0.1:${server.port}`);
    for (const piece of pieces) {
      client.write(piece);
      await Bun.sleep(30);
    }
    return client;
  }

  const statuses = ({ received }: RawClient): string[] =>
    [...received.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status!);

  test("requests behind one that has been answered are answered", async () => {
    const client = await send(postTo("/fast") + GET);
    await client.until("done\n");
    while (statuses(client).length < 2) await Bun.sleep(5);
    expect(statuses(client)).toEqual(["200", "200"]);
    client.destroy();
  });

  test("a request behind one that is not answered yet ends the connection: neither has an answer", async () => {
    const client = await send(postTo("/slow") + GET);
    await client.untilClosed();
    expect([client.received, cut]).toEqual(["", ["/slow"]]);
  });

  test("and cuts a stream", async () => {
    const client = await send(postTo("/stream"), GET);
    await client.untilClosed();
    expect(statuses(client)).toEqual(["200"]);
    expect(client.received).not.toContain("data: 99");
  });

  test("a line break behind a body is taken for a request: a 400 is written into the stream, which ends", async () => {
    const client = await send(postTo("/stream"), "\r\n");
    await client.untilClosed();
    expect(statuses(client)).toEqual(["200", "400"]);
    expect(client.received).not.toContain("data: 99");
  });

  test("a chunked body with trailers is refused", async () => {
    const head = "POST /fast HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n";
    const plain = await send(`${head}0\r\n\r\n`);
    await plain.until("done\n");
    plain.destroy();
    const client = await send(`${head}0\r\nx-checksum: 1\r\n\r\n`);
    await client.untilClosed();
    expect(statuses(client)).toContain("400");
  });
});

describe("HTTP/2 frames without work", () => {
  const NUM_FRAMES = 30_000;
  const CALM = 11;
  const repeated = (bytes: Buffer): Buffer => Buffer.concat(Array<Buffer>(NUM_FRAMES).fill(bytes));
  const open = post(1, "/v1/completions", { "content-length": "9" });
  const heads = (flags: number) => (id: number) => {
    const fields = { ":method": "GET", ":scheme": "http", ":path": "/health", ":authority": "localhost" };
    return frame(1, flags, id, headerBlock(fields));
  };
  const bounded: Record<string, Buffer> = {
    "empty CONTINUATION": Buffer.concat([heads(0)(1), repeated(frame(9, 0, 1))]),
    "calls that are reset": Buffer.concat(
      Array.from({ length: 20_000 }, (_, i) => [heads(4)(2 * i + 1), frame(3, 0, 2 * i + 1, [0, 0, 0, 8])]).flat(),
    ),
  };
  const unbounded: Record<string, Buffer> = {
    PING: repeated(frame(6, 0, 0, Buffer.alloc(8))),
    "acknowledgements of PING": repeated(frame(6, 1, 0, Buffer.alloc(8))),
    "empty SETTINGS": repeated(frame(4, 0, 0)),
    PRIORITY: repeated(frame(2, 0, 7, [0, 0, 0, 1, 16])),
    "WINDOW_UPDATE of the connection": repeated(frame(8, 0, 0, [0, 0, 0, 1])),
    "WINDOW_UPDATE of a stream": Buffer.concat([open, repeated(frame(8, 0, 1, [0, 0, 0, 1]))]),
    "unknown types": repeated(frame(0xbe, 0, 0)),
    "empty DATA": Buffer.concat([open, repeated(frame(0, 0, 1))]),
  };

  for (const [name, bytes] of Object.entries(bounded)) {
    test(`${name}: ends the connection`, async () => {
      await using server = new TestServer();
      const raw = await RawHttp2.connect(server.server.port);
      raw.write(bytes);
      // A client that still writes may not get to see the GOAWAY.
      expect([CALM, undefined]).toContain(await raw.goaway());
      await raw.untilClosed();
      expect((await fetch(`${server.url}/health`)).status).toBe(200);
    });
  }

  for (const [name, bytes] of Object.entries(unbounded)) {
    test(`${name}: without bound; others are served`, async () => {
      await using server = new TestServer();
      const raw = await RawHttp2.connect(server.server.port);
      raw.write(bytes);
      expect((await fetch(`${server.url}/health`)).status).toBe(200);
      // Answered when all that was sent before has been read.
      await raw.answered();
      expect(raw.closed).toBe(false);
      raw.destroy();
    });
  }
});
