import { expect, test } from "bun:test";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BINARY, childOf, MODEL_NAME, startBinary, startLoadingBinary } from "./binary.ts";

const chat = (url: string, body: Record<string, unknown>, headers: Record<string, string> = {}) =>
  fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ model: MODEL_NAME, messages: [{ role: "user", content: "Hi" }], ...body }),
  });

test("ignores bunfig.toml and .env of the folder it starts in", async () => {
  const folder = mkdtempSync(join(tmpdir(), "scalellm-hostile-"));
  writeFileSync(join(folder, "bunfig.toml"), 'preload = ["./evil.ts"]\n');
  writeFileSync(join(folder, "evil.ts"), 'require("node:fs").writeFileSync("evil.txt", "ran");\n');
  writeFileSync(join(folder, ".env"), "SCALELLM_API_KEY=from-dotenv\n");
  const server = await startBinary([], {}, folder);
  try {
    expect((await fetch(`${server.url}/v1/models`)).status).toBe(200);
    expect(await Bun.file(join(folder, "evil.txt")).exists()).toBe(false);
  } finally {
    await server.stop();
    rmSync(folder, { recursive: true });
  }
});

test("SIGTERM lets a stream finish, then ends with 0", async () => {
  const server = await startBinary();
  const response = await chat(server.url, { stream: true, max_tokens: 60, ignore_eos: true, temperature: 0 });
  const reader = response.body!.getReader();
  await reader.read();
  const stopped = server.stop("SIGTERM");
  let text = "";
  const decoder = new TextDecoder();
  for (let next = await reader.read(); !next.done; next = await reader.read()) text += decoder.decode(next.value);
  expect(text).toContain("data: [DONE]");
  expect(await stopped).toBe(0);
});

test("a second signal stops at once", async () => {
  const server = await startBinary();
  const response = await chat(server.url, { stream: true, max_tokens: 4000, ignore_eos: true });
  await response.body!.getReader().read();
  server.process.kill("SIGTERM");
  await Bun.sleep(100);
  expect(server.process.exitCode).toBeNull();
  expect(await server.stop("SIGTERM")).not.toBe(0);
});

test("streams that outlast the drain timeout are ended and logged; to stop was asked, so the exit code is 0", async () => {
  const server = await startBinary(["--drain-timeout", "1"]);
  const response = await chat(server.url, { stream: true, max_tokens: 8000, ignore_eos: true, n: 8 });
  const reader = response.body!.getReader();
  await reader.read();
  const stopped = server.stop("SIGTERM");
  let text = "";
  const decoder = new TextDecoder();
  for (let next = await reader.read(); !next.done; next = await reader.read()) text += decoder.decode(next.value);
  expect(text).toContain('"code":"shutting_down"');
  expect(await stopped).toBe(0);
  expect(server.output()).toContain(
    "the time to drain is over; requests that still run are ended drainTimeoutS=1 requests=1",
  );
});

test("the supervisor brings a killed server back on the same port", async () => {
  const probe = Bun.serve({ port: 0, fetch: () => new Response() });
  const port = probe.port!;
  await probe.stop(true);
  const server = await startBinary(["--port", String(port)]);
  const first = await childOf(server.process);
  process.kill(first, "SIGKILL");
  let status = 0;
  for (let i = 0; i < 1000 && status !== 200; i++) {
    await Bun.sleep(20);
    status = await fetch(`${server.url}/ready`).then(
      (response) => response.status,
      () => 0,
    );
    if (status === 200 && (await childOf(server.process)) === first) status = 0;
  }
  expect(status).toBe(200);
  expect(await server.stop()).toBe(0);
});

test("a signal between two starts of a server that dies ends the supervisor at once", async () => {
  const server = await startBinary();
  // The third pause is 400 ms: time enough for a signal to come in it. The children die before they are ready.
  let last = 0;
  for (let i = 0; i < 3; i++) {
    let next = last;
    while (next === 0 || next === last) next = await childOf(server.process);
    process.kill(next, "SIGKILL");
    last = next;
  }
  while (!server.output().includes("again in 400 ms")) await Bun.sleep(1);
  const startedMs = performance.now();
  expect(await server.stop()).toBe(0);
  expect(performance.now() - startedMs).toBeLessThan(300);
});

test("a signal while the model loads ends the server", async () => {
  const loading = await startLoadingBinary();
  loading.process.kill("SIGTERM");
  expect(await loading.process.exited).toBe(0);
  await loading.close();
});

test("an API key guards everything but /health and /ready", async () => {
  const server = await startBinary(["--api-key", "s3cret"]);
  try {
    expect((await fetch(`${server.url}/health`)).status).toBe(200);
    expect((await fetch(`${server.url}/ready`)).status).toBe(200);
    for (const path of ["/v1/models", "/metrics", "/version"])
      expect((await fetch(server.url + path)).status).toBe(401);
    expect((await chat(server.url, {})).status).toBe(401);
    expect((await chat(server.url, { max_tokens: 1 }, { authorization: "Bearer s3cret" })).status).toBe(200);
    expect(server.output()).not.toContain("s3cret");
  } finally {
    await server.stop();
  }
});

test("the curl line of the banner works, with and without a chat template", async () => {
  const folder = mkdtempSync(join(tmpdir(), "scalellm-base-model-"));
  cpSync("test/fixtures/goldens/tiny-llama", folder, { recursive: true });
  const config = JSON.parse(readFileSync(join(folder, "tokenizer_config.json"), "utf8"));
  writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify({ ...config, chat_template: undefined }));
  for (const [args, path] of [
    [[], "/v1/chat/completions"],
    [[folder], "/v1/completions"],
  ] as const) {
    const server = await startBinary(args);
    const command = /curl .*\n.*'/.exec(server.output())![0];
    expect(command).toContain(`${path} `);
    const answer = await Bun.$`bash -c ${`${command} -sS --fail-with-body`}`.nothrow().text();
    expect(answer).toContain("data: [DONE]");
    await server.stop();
  }
  rmSync(folder, { recursive: true });
});

test("wrong usage says what to do and ends with 2", async () => {
  const run = (...args: string[]) => {
    const { exitCode, stderr } = Bun.spawnSync([BINARY, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    return { exitCode, stderr: stderr.toString() };
  };
  expect(run("sevre")).toEqual({ exitCode: 2, stderr: expect.stringContaining("unknown command 'sevre'") });
  expect(run("serve", "--prot", "1")).toEqual({ exitCode: 2, stderr: expect.stringContaining("Did you mean --port?") });
  const missing = run("serve", "./no-such-file.gguf");
  expect(missing.exitCode).not.toBe(0);
  expect(missing.stderr).toContain("no-such-file.gguf");
});

test("run answers one prompt", async () => {
  const { exitCode, stdout } = Bun.spawnSync(
    [BINARY, "run", "--temperature", "0", "--max-tokens", "24", "What is 2+2?"],
    {
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  expect(stdout.toString()).toContain("is 4.");
  expect(exitCode).toBe(0);
});

test("run ends quietly when it is interrupted, or when nobody reads on", async () => {
  const long = "Write a very long story about rivers.";
  const interrupted = Bun.spawn([BINARY, "run", "--temperature", "0", long], { stdio: ["ignore", "pipe", "pipe"] });
  const reader = interrupted.stdout.getReader();
  await reader.read();
  interrupted.kill("SIGINT");
  while (!(await reader.read()).done);
  expect(await interrupted.exited).toBe(130);
  expect(await new Response(interrupted.stderr).text()).toBe("");

  const piped = Bun.spawnSync(["sh", "-c", '"$0" run --temperature 0 "$1" | head -c 8', BINARY, long], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  expect(piped.stdout).toHaveLength(8);
  expect(piped.stderr.toString()).toBe("");
});

test("a model that cannot be loaded is told in one line", () => {
  const args = ["serve", "--port", "0", "--no-grpc", "--kv-cache-memory", "1k"];
  const { exitCode, stderr } = Bun.spawnSync([BINARY, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  expect(stderr.toString()).toMatch(/^scalellm serve: cannot load the model: 1000 bytes for the KV cache hold .*\n$/);
  expect(exitCode).toBe(1);
});
