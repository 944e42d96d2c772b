import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { MODEL_NAME, startBinary } from "./binary.ts";

const MB = 1024 * 1024;
const HANG_MS = 120_000;

/** Resident bytes of the process that serves: the supervisor's child. */
function residentOf(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) * 1024;
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await Bun.sleep(100);
}

test(
  "an idle server gives the memory of unused KV blocks back, and says what it has",
  async () => {
    const server = await startBinary(["--no-supervise", "--max-model-len", "512", "--kv-idle-timeout", "10"]);
    try {
      const kvBytes = async () =>
        Number(/kv_cache_resident_bytes\{.*\} (\d+)/.exec(await (await fetch(`${server.url}/metrics`)).text())?.[1]);
      // The blocks of one request of full length are there before the first.
      await until(async () => (await kvBytes()) > 0);
      const kept = await kvBytes();
      expect(kept).toBe((512 / 16) * 16 * 23_040);
      const prompts = Array.from({ length: 8 }, (_, p) =>
        Array.from({ length: 400 }, (_, i) => 1000 + ((i * 7919 + p * 131) % 40_000)),
      );
      const response = await fetch(`${server.url}/v1/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model: MODEL_NAME, prompt: prompts, max_tokens: 2, temperature: 0 }),
      });
      expect(response.status).toBe(200);
      await response.arrayBuffer();
      const full = residentOf(server.process.pid);
      // On a slow machine the first prompts' blocks may be gone by now.
      const grown = (await kvBytes()) - kept;
      expect(grown).toBeGreaterThan(20 * MB);
      await until(async () => (await kvBytes()) === kept);
      expect(residentOf(server.process.pid)).toBeLessThan(full - grown / 2);
    } finally {
      await server.stop();
    }
  },
  HANG_MS,
);
