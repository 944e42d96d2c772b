/**
 * Run by stream-faults.test.ts: readers that stall in a long answer and in a stream, and bodies that fail, at once and later.
 * Ends when all have been cut off.
 */
import { ResponseBody } from "../../src/http/response-body.ts";
import { RawClient } from "./raw-client.ts";
import { MODEL, TestServer } from "./test-server.ts";

const server = new TestServer({ maxModelLen: 8192, limits: { stalledReaderMs: 100 } });
const ids = Array.from({ length: 1500 }, (_, i) => (i * 7) % 256);
const bodies = [
  { prompt: ids, prompt_logprobs: 20, n: 16 },
  { prompt: Array(64).fill(ids), echo: true, logprobs: 20, stream: true },
];
for (const body of bodies) {
  const client = await RawClient.connect(server.url);
  client.pause();
  client.post("/v1/completions", { model: MODEL, ...body });
}
const stalled = () => server.log.filter(({ reason }) => reason === "stalled_reader").length;
while (stalled() < bodies.length) await Bun.sleep(5);

async function* failing(afterMs: number): AsyncGenerator<Uint8Array> {
  yield new TextEncoder().encode("begun ");
  if (afterMs > 0) await Bun.sleep(afterMs);
  throw new Error("cannot be encoded");
}
for (const afterMs of [0, 10]) {
  const cut = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    development: false,
    fetch: () => new Response(new ResponseBody(100).of(failing(afterMs))),
  });
  const text = await fetch(cut.url)
    .then((response) => response.text())
    .catch(() => "cut");
  if (text !== "cut") throw new Error(`not cut, but ended: ${text}`);
}
// What Bun has to say it says in the turn after.
await Bun.sleep(20);
process.exit(0);
