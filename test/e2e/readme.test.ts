import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { type RunningBinary, startBinary } from "./binary.ts";

/** Every curl command of the README, whole. */
const commands = [...readFileSync("README.md", "utf8").matchAll(/^```sh\n([\s\S]*?)^```/gm)].flatMap(([, block]) =>
  [...block!.matchAll(/^curl [\s\S]*?(?=^curl |^\w|$(?![\s\S]))/gm)].map(([command]) => command.trim()),
);

let server: RunningBinary;
beforeAll(async () => {
  server = await startBinary();
});
afterAll(() => server.stop());

test("there are commands to try", () => {
  expect(commands.length).toBeGreaterThanOrEqual(10);
});

test.each(commands)("%s", async (command) => {
  const here = command.replaceAll("http://127.0.0.1:8000", server.url).replace(/^curl /, "curl -sS --fail-with-body ");
  const child = Bun.spawn(["bash", "-c", here], { stdio: ["ignore", "pipe", "pipe"] });
  const output = await new Response(child.stdout).text();
  expect([await child.exited, output]).toEqual([0, expect.stringMatching(/\S/)]);
});
