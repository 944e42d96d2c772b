import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BINARY, childOf, startBinary } from "./binary.ts";

const status = async (url: string, key?: string) =>
  (await fetch(`${url}/v1/models`, key === undefined ? {} : { headers: { "x-api-key": key } })).status;

/** What every process of this user can read of another. */
const shown = (pid: number) =>
  readFileSync(`/proc/${pid}/cmdline`, "latin1") + readFileSync(`/proc/${pid}/environ`, "latin1");

test("keys come from flags, variables, files and descriptors, and the child shows none, also after a restart", async () => {
  const folder = mkdtempSync(join(tmpdir(), "scalellm-keys-"));
  const file = join(folder, "keys.txt");
  writeFileSync(file, "# ours\nfile-s3cret\n");
  const config = join(folder, "config.yaml");
  writeFileSync(config, "api-key: config-s3cret\n");
  const port = Bun.serve({ port: 0, fetch: () => new Response() });
  const free = String(port.port);
  await port.stop(true);
  for (const [args, env, key] of [
    [["--api-key", "flag-s3cret", "--api-key-file", file, "--port", free], {}, "flag-s3cret"],
    [[], { SCALELLM_API_KEY: "env-s3cret", SCALELLM_API_KEY_FILE: file }, "env-s3cret"],
    [["--config", config, `--api-key-file=${file}`], {}, "config-s3cret"],
  ] as const) {
    const server = await startBinary(args, env);
    try {
      const child = await childOf(server.process);
      expect(shown(child)).not.toContain("s3cret");
      expect(server.output()).not.toContain("s3cret");
      const statuses = async () =>
        Promise.all([undefined, "wrong", key, "file-s3cret"].map((one) => status(server.url, one)));
      expect(await statuses()).toEqual([401, 401, 200, 200]);
      if (key !== "flag-s3cret") continue;
      process.kill(child, "SIGKILL");
      let back = false;
      for (let i = 0; i < 1000 && !back; i++) {
        await Bun.sleep(20);
        back = await status(server.url, key).then(
          (code) => code === 200,
          () => false,
        );
      }
      expect(await statuses()).toEqual([401, 401, 200, 200]);
    } finally {
      await server.stop();
    }
  }
  rmSync(folder, { recursive: true });
});

test("a server is not started with a key that is set but empty", () => {
  const run = (args: string[], env: Record<string, string> = {}) => {
    const { exitCode, stderr } = Bun.spawnSync([BINARY, "serve", "--port", "0", "--no-grpc", ...args], {
      env: { PATH: process.env.PATH ?? "", ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    return { exitCode, stderr: stderr.toString() };
  };
  expect(run([], { SCALELLM_API_KEY: "" })).toEqual({
    exitCode: 2,
    stderr: expect.stringContaining("SCALELLM_API_KEY:"),
  });
  expect(run(["--api-key", ""])).toEqual({ exitCode: 2, stderr: expect.stringContaining("--api-key:") });
  expect(run(["--api-key-file", "/nowhere/keys"])).toEqual({
    exitCode: 2,
    stderr: expect.stringContaining("--api-key-file: /nowhere/keys cannot be read"),
  });
  // Standard input, here without a key.
  expect(run(["--api-key-fd", "0"])).toEqual({ exitCode: 2, stderr: expect.stringContaining("holds no key") });
  // What a supervisor would have said is missing.
  expect(run([], { SCALELLM_SUPERVISED: "1" }).exitCode).toBe(1);
});
