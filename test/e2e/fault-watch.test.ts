import { expect, test } from "bun:test";
import { resolve } from "node:path";
import { childOf, MODEL_NAME, startBinary } from "./binary.ts";

const COMMAND = [process.execPath, resolve("test/e2e/faulty-server.ts")];

test("an error that nothing caught: not ready, streams end by themselves, the supervisor starts a new server", async () => {
  const probe = Bun.serve({ port: 0, fetch: () => new Response() });
  const port = String(probe.port);
  await probe.stop(true);
  const server = await startBinary(["--port", port], {}, undefined, COMMAND);
  const first = await childOf(server.process);
  const stream = await fetch(`${server.url}/v1/completions`, {
    method: "POST",
    body: JSON.stringify({ model: MODEL_NAME, prompt: "Once", stream: true, max_tokens: 150, ignore_eos: true }),
  });
  const reader = stream.body!.getReader();
  await reader.read();
  process.kill(first, "SIGUSR2");
  while (!server.output().includes("lost as asked")) await Bun.sleep(1);
  expect((await fetch(`${server.url}/ready`)).status).toBe(503);
  expect((await fetch(`${server.url}/health`)).status).toBe(200);
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  expect(metrics).toContain("scalellm:unhandled_errors_total 1");
  // A second one changes nothing.
  process.kill(first, "SIGUSR2");
  let text = "";
  const decoder = new TextDecoder();
  for (let next = await reader.read(); !next.done; next = await reader.read()) text += decoder.decode(next.value);
  expect(text).toContain("data: [DONE]");
  let status = 0;
  while (status !== 200 || (await childOf(server.process)) === first) {
    await Bun.sleep(20);
    status = await fetch(`${server.url}/ready`).then(
      (response) => response.status,
      () => 0,
    );
  }
  expect(await server.stop()).toBe(0);
}, 120_000);
