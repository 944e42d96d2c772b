import { expect, test } from "bun:test";
import OpenAI from "openai";
import { BINARY, childOf, MODEL_NAME, startBinary, startLoadingBinary } from "./binary.ts";

const SMALL = ["--kv-cache-memory", "64MiB"];

/** Resolves when the process has ended, be it unreaped; the test's own deadline is the guard. */
async function ended(pid: number): Promise<void> {
  for (;;) {
    const status = await Bun.file(`/proc/${pid}/status`)
      .text()
      .catch(() => "");
    if (status === "" || /^State:\s+[ZX]/m.test(status)) return;
    await Bun.sleep(10);
  }
}

test.each(["SIGHUP", "SIGINT", "SIGTERM", "SIGQUIT", "SIGKILL", "SIGXCPU"] as const)(
  "when %s ends the supervisor, the server ends with it",
  async (signal) => {
    const server = await startBinary(SMALL);
    const child = await childOf(server.process);
    const code = await server.stop(signal);
    await ended(child);
    if (signal !== "SIGKILL" && signal !== "SIGXCPU") expect(code).toBe(0);
  },
);

test("the server ends with a supervisor that is killed while the model loads", async () => {
  const loading = await startLoadingBinary();
  const child = await childOf(loading.process);
  loading.process.kill("SIGKILL");
  await ended(child);
  await loading.close();
});

test("signals that ask for nothing change nothing, for the supervisor and for the server", async () => {
  const server = await startBinary(SMALL);
  const child = await childOf(server.process);
  for (const signal of ["SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO"] as const)
    for (const pid of [server.process.pid, child]) process.kill(pid, signal);
  while (server.output().split("SIGIO means nothing here and is ignored").length < 3) await Bun.sleep(5);
  expect((await fetch(`${server.url}/health`)).status).toBe(200);
  expect(await childOf(server.process)).toBe(child);
  expect(await server.stop()).toBe(0);
});

/** Runs a shell script with the binary as $0 until its output has a URL and a process id. */
async function shellServer(script: string) {
  const shell = Bun.spawn(["sh", "-c", script, BINARY], { stdio: ["ignore", "pipe", "ignore"] });
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of shell.stdout) {
    text += decoder.decode(bytes, { stream: true });
    if (/HTTP .*\n/.test(text)) break;
  }
  return { url: /http:\/\/[\d.:]+/.exec(text)![0], pid: Number(/pid (\d+)/.exec(text)![1]) };
}

test("nohup: a terminal that closes does not end the server", async () => {
  const { url, pid } = await shellServer(
    'nohup "$0" serve --port 0 --no-grpc --kv-cache-memory 64MiB 2>&1 & echo "pid $!"; wait',
  );
  process.kill(pid, "SIGHUP");
  await Bun.sleep(200);
  expect((await fetch(`${url}/health`)).status).toBe(200);
  process.kill(pid, "SIGTERM");
  await ended(pid);
});

test("a server goes on when nobody reads its output any more", async () => {
  const { url, pid } = await shellServer(
    '{ "$0" serve --port 0 --no-grpc --kv-cache-memory 64MiB 2>&1 & echo "pid $!"; wait; } | sed "/HTTP/q"',
  );
  for (let i = 0; i < 5; i++) expect((await fetch(`${url}/no/such/path`)).status).toBe(404);
  process.kill(pid, "SIGUSR1"); // the supervisor has something to say, too
  await Bun.sleep(100);
  expect((await fetch(`${url}/health`)).status).toBe(200);
  process.kill(pid, "SIGTERM");
  await ended(pid);
});

test("a restart: the same ports though the system chose them, and clients that try again do not notice", async () => {
  const server = await startBinary(SMALL);
  const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none" });
  const ask = () => client.completions.create({ model: MODEL_NAME, prompt: "The sky is", max_tokens: 2 });
  const child = await childOf(server.process);
  process.kill(child, "SIGSEGV");
  await ended(child);
  // With the two retries that clients have by default.
  const answers = await Promise.all(Array.from({ length: 8 }, ask));
  for (const answer of answers) expect(answer.choices[0]!.finish_reason).toBe("length");
  expect(await childOf(server.process)).not.toBe(child);
  const { connect } = await import("node:http2");
  const session = connect(`http://${server.grpc}`);
  await new Promise((resolve, reject) => session.once("connect", resolve).once("error", reject));
  session.destroy();
  expect(server.output()).toContain("The server ended with signal SIGSEGV; starting it again.\n");
  expect(await server.stop()).toBe(0);
}, 120_000);

test.each(["[::1]", "::1"])("--host %s on both ports", async (host) => {
  const server = await startBinary(["--host", host, ...SMALL]);
  expect(server.url).toStartWith("http://[::1]:");
  expect(server.grpc).toStartWith("[::1]:");
  expect(server.output()).not.toContain("without an API key: anyone");
  expect((await fetch(`${server.url}/ready`)).status).toBe(200);
  await server.stop();
});

test("--host in any form that means loopback keeps strangers' names out", async () => {
  const server = await startBinary(["--host", "127.1", ...SMALL]);
  const statusFor = async (host: string) => (await fetch(`${server.url}/v1/models`, { headers: { host } })).status;
  expect(await statusFor("evil.example")).toBe(403);
  expect([await statusFor("127.1"), await statusFor("localhost")]).toEqual([200, 200]);
  expect(server.output()).not.toContain("without an API key: anyone");
  await server.stop();
});

test("settings are read once: a configuration from a pipe holds for the child and after a restart", async () => {
  const script = 'exec "$0" "$@" --config <(echo "served-model-name: from-a-pipe")';
  const server = await startBinary(SMALL, {}, undefined, ["bash", "-c", script, BINARY]);
  const served = async () => {
    const { data } = (await (await fetch(`${server.url}/v1/models`)).json()) as { data?: { id: string }[] };
    return data?.[0]?.id;
  };
  expect(await served()).toBe("from-a-pipe");
  const child = await childOf(server.process);
  process.kill(child, "SIGKILL");
  await ended(child);
  while ((await served().catch(() => undefined)) !== "from-a-pipe") await Bun.sleep(50);
  expect(server.output()).toContain("starting it again");
  await server.stop();
}, 60_000);

test("metrics of the process and the build", async () => {
  const server = await startBinary(SMALL);
  const text = await (await fetch(`${server.url}/metrics`)).text();
  await server.stop();
  for (const name of [
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_start_time_seconds",
  ])
    expect(text).toMatch(new RegExp(`^${name} [1-9.]`, "m"));
  expect(text).toMatch(/^scalellm_build_info\{version="[\d.]+",bun="[\d.]+",platform="linux",arch="\w+"\} 1$/m);
});
