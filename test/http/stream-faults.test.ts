import { expect, test } from "bun:test";
import { LIMITS } from "../../src/config/limits.ts";
import { ResponseBody } from "../../src/http/response-body.ts";
import { SseWriter } from "../../src/http/sse-writer.ts";
import { TurnQueue } from "../../src/http/turn-queue.ts";

/** A stream that meets a fault ends; nobody who waits for it waits for ever, and the streams beside it go on. */

type Controller = Parameters<SseWriter["attach"]>[0];

function controller(write: (text: string) => void): Controller {
  return { write, flush: () => 0, close: () => {}, end: () => 0, start: () => {} } as unknown as Controller;
}

test("a stream that refuses what is written to it has lost its reader; those of the same turn have not", async () => {
  const faults: unknown[] = [];
  const broken: unknown[] = [];
  const turns = new TurnQueue((error) => faults.push(error));
  const writer = (write: (text: string) => void) => {
    const made = new SseWriter(
      LIMITS,
      turns,
      () => {},
      (error) => broken.push(error),
    );
    made.attach(controller(write));
    return made;
  };
  const written: string[] = [];
  const bad = writer(() => {
    throw new Error("no stream any more");
  });
  const good = writer((text) => written.push(text));
  bad.send("data: 1\n\n");
  good.send("data: 2\n\n");
  await bad.gone;
  await bad.close(() => {});
  await good.close(() => {});
  expect(written.join("")).toBe("data: 2\n\n");
  expect(broken).toEqual([new Error("no stream any more")]);
  expect(faults).toEqual([]);
});

test("a writer is over even if what is to be done before its last byte fails", async () => {
  let closed = false;
  const writer = new SseWriter(
    LIMITS,
    new TurnQueue(),
    () => {},
    () => {},
  );
  writer.attach({ ...controller(() => {}), close: () => void (closed = true) } as unknown as Controller);
  const failed = await writer
    .close(() => {
      throw new Error("too late");
    })
    .catch((error: unknown) => error);
  expect(failed).toEqual(new Error("too late"));
  await writer.gone;
  expect(closed).toBe(true);
});

test("a body whose maker throws is cut off, and its end says why", async () => {
  const bodies: ResponseBody[] = [];
  async function* chunks() {
    yield new TextEncoder().encode("begun ");
    throw new Error("cannot be encoded");
  }
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    development: false,
    fetch() {
      const body = new ResponseBody(LIMITS.stalledReaderMs);
      bodies.push(body);
      return new Response(body.of(chunks()));
    },
  });
  const cut = await fetch(server.url)
    .then((response) => response.text())
    .catch((error: unknown) => error);
  expect(cut).toBeInstanceOf(Error);
  expect(await bodies[0]!.ended).toMatchObject({ code: "internal", cause: new Error("cannot be encoded") });
  await server.stop(true);
});

test("streams that are cut off leave no stack on stderr: Bun prints one in development, and in their first turn", async () => {
  const child = Bun.spawn([process.execPath, "test/http/cut-streams.ts"], { stdout: "pipe", stderr: "pipe" });
  expect(await new Response(child.stderr).text()).toBe("");
  expect(await new Response(child.stdout).text()).toBe("");
  expect(await child.exited).toBe(0);
}, 30_000);
