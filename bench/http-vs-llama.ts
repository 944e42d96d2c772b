// Our server beside llama.cpp's llama-server on the bundled file and the same threads, through HTTP: `make bench-http`.
// Both stay up for the whole run and take turns at every load; `scalellm bench` drives them. Short requests of 62 prompt and
// 64 output tokens, every prompt another one, so that neither's prefix cache helps.
import { parseArgs } from "node:util";
import { freePort, residentMb, startProcess, startScaleLlm } from "./server-process.ts";

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

if (!(await Bun.file(flags["llama-server"]).exists())) {
  console.error(`${flags["llama-server"]} is not there; build it with bench/peers/build-llama-server.sh`);
  process.exit(1);
}
const { threads } = flags;
const theirPort = await freePort();
const theirs = `http://127.0.0.1:${theirPort}`;
const llamaServer = [flags["llama-server"], "-m", MODEL, "--host", "127.0.0.1", "--port", `${theirPort}`]
  .concat(["-t", threads, "-tb", threads, "--no-webui"])
  .concat(["--parallel", `${MOST_STREAMS}`, "-c", `${MOST_STREAMS * SLOT_TOKENS}`]);
const { url: ours, child: scalellm } = await startScaleLlm(["--threads", threads]);
const children = [scalellm];
try {
  children.push(await startProcess(llamaServer, `${theirs}/health`));
  const bench = Bun.spawn(
    ["dist/scalellm", "bench", `scalellm=${ours}`, `llama-server=${theirs}`, "--api", "completions"]
      .concat(["--input-tokens", "62", "--output-tokens", "64", "--concurrency", flags.concurrency])
      .concat(["--rounds", flags.rounds])
      .concat(flags.html ? ["--html", flags.html] : [])
      .concat(flags.output ? ["--output", flags.output] : []),
    { stdio: ["ignore", "inherit", "inherit"] },
  );
  process.exitCode = await bench.exited;
  const [ourRss, theirRss] = children.map(({ pid }) => `${residentMb(pid).toFixed(0)} MB`);
  console.log(`\nResident memory after the run: scalellm ${ourRss}, llama-server ${theirRss}`);
} finally {
  for (const child of children) child.kill("SIGTERM");
}
