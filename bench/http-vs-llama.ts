// Our server beside llama.cpp's llama-server on the bundled file and the same threads, through HTTP: `make bench-http`.
// Both stay up for the whole run and take turns at every load; `scalellm bench` drives them. Short requests of 62 prompt and
// 64 output tokens, every prompt another one, so that neither's prefix cache helps.
import { parseArgs } from "node:util";

const { values: flags } = parseArgs({
  options: {
    "llama-server": { type: "string", default: "build/llama.cpp/out/bin/llama-server" },
    threads: { type: "string", default: String(navigator.hardwareConcurrency) },
    concurrency: { type: "string", default: "1,4,16,64" },
    rounds: { type: "string", default: "5" },
    html: { type: "string" },
    output: { type: "string" },
  },
});
const MODEL = "models/SmolLM2-135M-Instruct.Q4_1.gguf";
const MOST_STREAMS = 64;
/** Room for a request of 62 + 64 tokens and a little more in each of llama-server's slots. */
const SLOT_TOKENS = 256;
const START_DEADLINE_MS = 60_000;

async function freePort(): Promise<number> {
  const server = Bun.serve({ port: 0, fetch: () => new Response() });
  const port = server.port!;
  await server.stop(true);
  return port;
}

async function start(command: string[], url: string, ready: string): Promise<Bun.Subprocess> {
  const child = Bun.spawn(command, { stdio: ["ignore", "ignore", "ignore"] });
  const deadline = performance.now() + START_DEADLINE_MS;
  for (;;) {
    const up = await fetch(url + ready)
      .then((response) => response.ok)
      .catch(() => false);
    if (up) return child;
    if (child.exitCode !== null || performance.now() > deadline) {
      child.kill();
      throw new Error(`${command[0]} did not become ready`);
    }
    await Bun.sleep(50);
  }
}

if (!(await Bun.file(flags["llama-server"]).exists())) {
  console.error(`${flags["llama-server"]} is not there; build it with bench/peers/build-llama-server.sh`);
  process.exit(1);
}
const [ourPort, theirPort] = [await freePort(), await freePort()];
const ours = `http://127.0.0.1:${ourPort}`;
const theirs = `http://127.0.0.1:${theirPort}`;
const { threads } = flags;
const children = await Promise.all([
  start(
    ["dist/scalellm", "serve", "--no-supervise", "--no-grpc", "--port", `${ourPort}`, "--threads", threads],
    ours,
    "/ready",
  ),
  start(
    [
      flags["llama-server"],
      "-m",
      MODEL,
      "--host",
      "127.0.0.1",
      "--port",
      `${theirPort}`,
      "-t",
      threads,
      "-tb",
      threads,
    ].concat(["--parallel", `${MOST_STREAMS}`, "-c", `${MOST_STREAMS * SLOT_TOKENS}`, "--no-webui"]),
    theirs,
    "/health",
  ),
]);
try {
  const bench = Bun.spawn(
    ["dist/scalellm", "bench", `scalellm=${ours}`, `llama-server=${theirs}`, "--api", "completions"]
      .concat(["--input-tokens", "62", "--output-tokens", "64", "--concurrency", flags.concurrency])
      .concat(["--rounds", flags.rounds])
      .concat(flags.html ? ["--html", flags.html] : [])
      .concat(flags.output ? ["--output", flags.output] : []),
    { stdio: ["ignore", "inherit", "inherit"] },
  );
  process.exitCode = await bench.exited;
} finally {
  for (const child of children) child.kill("SIGTERM");
}
