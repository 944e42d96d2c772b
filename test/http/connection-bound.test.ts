import { expect, test } from "bun:test";
import net from "node:net";
import { resolve } from "node:path";
import { DescriptorBound } from "../../src/http/descriptor-bound.ts";
import { RawClient } from "./raw-client.ts";
import { MODEL } from "./test-server.ts";

const DESCRIPTORS = 256;
const FLOOD = 600;

/** The server of bounded-server.ts. */
class BoundedServer implements AsyncDisposable {
  private constructor(
    private readonly process: Bun.Subprocess<"pipe", "pipe", "inherit">,
    private readonly lines: AsyncIterator<string>,
    readonly url: string,
    readonly grpcPort: number,
  ) {}

  static async start(): Promise<BoundedServer> {
    const command = `ulimit -n ${DESCRIPTORS}; exec "${process.execPath}" "${resolve("test/http/bounded-server.ts")}"`;
    const child = Bun.spawn(["bash", "-c", command], { stdio: ["pipe", "pipe", "inherit"] });
    const lines = linesOf(child.stdout);
    const { url, grpcPort } = JSON.parse((await lines.next()).value!);
    return new BoundedServer(child, lines, url, grpcPort);
  }

  /** CPU time of its process so far. */
  async cpuMs(): Promise<number> {
    this.process.stdin.write("\n");
    this.process.stdin.flush();
    return JSON.parse((await this.lines.next()).value!).cpuMs;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.process.kill();
    await this.process.exited;
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, undefined> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of stream) {
    text += decoder.decode(bytes, { stream: true });
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      yield text.slice(0, end);
      text = text.slice(end + 1);
    }
  }
  return undefined;
}

/** Connections that send `head` and then nothing. `statuses` counts what they are answered. */
async function flood(port: number, head: string, statuses = new Map<number, number>()): Promise<net.Socket[]> {
  const sockets = Array.from({ length: FLOOD }, () => {
    const socket = net.connect(port, "127.0.0.1").on("error", () => {});
    socket.once("data", (data) => {
      const status = Number(/^HTTP\/1.1 (\d+)/.exec(data.toString("latin1"))?.[1]);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    });
    return socket.resume();
  });
  const settled = (socket: net.Socket) =>
    new Promise<void>((done) => socket.once("connect", () => done()).once("close", () => done()));
  await Promise.all(sockets.map(settled));
  for (const socket of sockets) if (head !== "") socket.write(head);
  return sockets;
}

const STREAM = { model: MODEL, messages: [{ role: "user", content: "Hi" }], stream: true };
const streamHead = () => {
  const body = JSON.stringify(STREAM);
  return `POST /v1/chat/completions HTTP/1.1\r\nhost: test\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
};

for (const [what, head] of [
  ["say nothing", ""],
  ["send half a head", "POST /v1/chat/completions HTTP/1.1\r\nhost: test\r\n"],
  ["send half a body", "POST /v1/completions HTTP/1.1\r\nhost: test\r\ncontent-length: 1000\r\n\r\n{"],
  ["stay idle after an answer", "GET /health HTTP/1.1\r\nhost: test\r\n\r\n"],
  ["stream", streamHead()],
] as const) {
  test(`${FLOOD} connections that ${what}, with ${DESCRIPTORS} descriptors: streams go on, nothing spins, and it passes`, async () => {
    await using server = await BoundedServer.start();
    const stream = await RawClient.connect(server.url);
    stream.write(streamHead());
    await stream.until('"content":"a"');
    const statuses = new Map<number, number>();
    const sockets = await flood(Number(new URL(server.url).port), head, statuses);
    // Time for connections that are accepted late (without data after a second), and for the first look.
    await Bun.sleep(2500);
    const before = { cpuMs: await server.cpuMs(), received: stream.received.length };
    await Bun.sleep(1500);
    const cpuMs = (await server.cpuMs()) - before.cpuMs;
    // A loop that spins uses a core: 1500 ms. Streams at 50 pieces a second use some, up to 200 of them here.
    expect(cpuMs).toBeLessThan(what === "stream" ? 1200 : 500);
    expect(stream.closed).toBe(false);
    expect(stream.received.length).toBeGreaterThan(before.received);
    // Requests beyond the bound are answered, and make room for those behind them, so that hardly one is cut off.
    if (what === "stream" || what === "send half a body")
      expect(statuses.get(503)).toBeGreaterThan(FLOOD - DESCRIPTORS);
    // Whoever comes now gets an answer: 503 where there is no room, and the connection is closed then.
    const late = await RawClient.connect(server.url);
    late.request("GET", "/health");
    await late.until("\r\n\r\n");
    const status = Number(/^HTTP\/1.1 (\d+)/.exec(late.received)?.[1]);
    if (status !== 200) {
      await late.untilClosed();
      expect(late.received).toContain('"code":"too_many_connections"');
      expect(late.received).toMatch(/x-request-id: req-/i);
      expect(late.received).toMatch(/retry-after: 1/i);
    }
    expect([200, 503]).toContain(status);
    late.destroy();
    for (const socket of sockets) socket.destroy();
    let healthy = false;
    for (let i = 0; i < 200 && !healthy; i++) {
      await Bun.sleep(50);
      healthy = await fetch(`${server.url}/health`).then(
        (response) => response.status === 200,
        () => false,
      );
    }
    expect(healthy).toBe(true);
    expect(stream.closed).toBe(false);
    stream.destroy();
  }, 60_000);
}

test("the gRPC port drops what is beyond the bound, and a flood there does not spin either", async () => {
  await using server = await BoundedServer.start();
  const sockets = await flood(server.grpcPort, "");
  await Bun.sleep(1500);
  const before = await server.cpuMs();
  await Bun.sleep(1500);
  expect((await server.cpuMs()) - before).toBeLessThan(500);
  expect((await fetch(`${server.url}/health`)).status).toBe(200);
  for (const socket of sockets) socket.destroy();
}, 60_000);

test("the bound leaves what the process needs for itself", () => {
  const limits = { maxConnections: 1000, reservedDescriptors: 64 };
  const bound = (limit: number, used: number) => new DescriptorBound({ limit, used: () => used }, limits);
  expect([bound(256, 20).most, bound(256, 20).mostConnections]).toEqual([192, 172]);
  // Few in all: a quarter is kept.
  expect(bound(64, 20).most).toBe(48);
  expect(bound(Number.POSITIVE_INFINITY, 20).most).toBe(1020);
  let used = 20;
  const table = new DescriptorBound({ limit: 256, used: () => used }, limits);
  used = 192;
  expect([table.crowded, table.relaxed]).toEqual([false, false]);
  used = 193;
  expect(table.crowded).toBe(true);
  used = 100;
  expect([table.crowded, table.relaxed]).toEqual([false, true]);
});
