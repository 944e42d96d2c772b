import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BINARY, MODEL_NAME, startBinary } from "./binary.ts";

const folder = mkdtempSync(join(tmpdir(), "scalellm-commands-"));
writeFileSync(join(folder, "garbage.gguf"), "garbage");
writeFileSync(
  join(folder, "cut.gguf"),
  new Uint8Array(await Bun.file("models/SmolLM2-135M-Instruct.Q4_1.gguf").slice(0, 65536).arrayBuffer()),
);
afterAll(() => rmSync(folder, { recursive: true }));

/** Hang guard: a command that failed ends in far less. */
const GUARD_MS = 20_000;

async function run(...args: string[]): Promise<{ code: number | string; out: string; err: string }> {
  const child = Bun.spawn([BINARY, ...args], { cwd: folder, stdio: ["ignore", "pipe", "pipe"], timeout: GUARD_MS });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  const code = await child.exited;
  return { code: child.signalCode ?? code, out, err };
}

describe("a model that cannot be loaded ends the command with one sentence and 1", () => {
  const SMALL = ["--concurrency", "1", "--requests", "1"];
  const commands: Record<string, (model: string[]) => string[]> = {
    run: (model) => ["run", ...model, "hi"],
    chat: (model) => ["chat", ...model],
    bench: (model) => ["bench", ...model, ...SMALL],
    profile: (model) => ["profile", ...model, ...SMALL],
    serve: (model) => ["serve", ...model, "--port", "0", "--no-grpc"],
  };
  const models: ReadonlyArray<readonly [string[], string]> = [
    [
      ["--model", "./missing.gguf"],
      `no file or folder ${folder}/missing.gguf; that folder holds cut.gguf, garbage.gguf`,
    ],
    [["--model", "./garbage.gguf"], "garbage.gguf: is neither a GGUF file nor a model folder"],
    [["--model", "./cut.gguf"], "cut.gguf: tokenizer.ggml.tokens: the file ends early"],
    [["--model", "smollm3"], `not the bundled model, ${MODEL_NAME}`],
    [["--kv-cache-memory", "1k"], "1000 bytes for the KV cache hold 0 blocks"],
  ];
  test.each(Object.keys(commands))(
    "%s",
    async (name) => {
      for (const [model, message] of models) {
        const { code, err } = await run(...commands[name]!(model));
        expect(err).toStartWith(`scalellm ${name}: `);
        expect(err).toContain(message);
        expect(err.trimEnd().split("\n")).toHaveLength(1);
        expect(code).toBe(1);
      }
    },
    120_000,
  );
});

test.each<[string[], number, string]>([
  [["sevre"], 2, "unknown command 'sevre'. Did you mean 'serve'?"],
  [["hepl"], 2, "unknown command 'hepl'. Did you mean 'help'?"],
  [["help", "bnech"], 2, "Did you mean 'bench'?"],
  [["nonsense"], 2, "Commands: serve, run, chat"],
  [["constructor"], 2, "unknown command 'constructor'"],
  [["--port", "1"], 2, "expected a command before --port"],
  [["chat", "--temprature", "1"], 2, "Did you mean --temperature?"],
  [["run", "--sed", "1", "hi"], 2, "Did you mean --seed?"],
  [["bench", "--concurency", "1"], 2, "Did you mean --concurrency?"],
  [["serve", "--config", "none.yaml"], 2, "--config none.yaml: no such file or folder"],
  [["serve", "--config", "."], 2, "--config .: it is a folder"],
  [["bench", "http://127.0.0.1:1"], 1, "cannot reach http://127.0.0.1:1/v1/models: nothing listens there"],
  [["bench", "ftp://127.0.0.1"], 1, "neither http:// nor https://"],
  [["bench", "--output", ".", "http://127.0.0.1:1"], 2, "--output .: it is a folder"],
  [["bench", "--html", "none/x.html", "http://127.0.0.1:1"], 2, "--html none/x.html: no such file or folder"],
  [["bench", "--dataset", "none.json", "http://127.0.0.1:1"], 2, "--dataset none.json: no such file"],
  [["chat", "--url", "http://127.0.0.1:1"], 1, "cannot reach http://127.0.0.1:1: nothing listens there"],
  [["run", "--url", "ftp://host", "hi"], 2, "expected the URL of a server"],
  [["doctor", "now"], 2, "expected no arguments, got 'now'"],
  [["licenses", "--all"], 2, "expected no arguments, got '--all'"],
  [["serve", "--api-key-fd", "77"], 2, "descriptor 77 cannot be read: no such descriptor is open"],
])("scalellm %j", async (args, code, message) => {
  const result = await run(...args);
  expect(result.err).toContain(message);
  expect(result.err).not.toMatch(/\n\s+at |ENOENT|ECONNREFUSED/);
  expect(result.code).toBe(code);
});

test.each([[["help", "serve"]], [["serve", "--help"]], [["--help", "serve"]], [["serve", "-h"]]])(
  "%j",
  async (args) => {
    const { code, out } = await run(...args);
    expect([code, out.split("\n")[0]]).toEqual([0, "Usage: scalellm serve [MODEL] [OPTIONS]"]);
  },
);

test.each([MODEL_NAME, "SmolLM2-135M-Instruct"])("serve %s is the bundled model", async (name) => {
  const server = await startBinary([name]);
  const models = (await (await fetch(`${server.url}/v1/models`)).json()) as { data: unknown };
  await server.stop();
  const default_sampling = { temperature: 0.2, top_p: 0.9, repetition_penalty: 1.05, frequency_penalty: 0.1 };
  expect(models.data).toEqual([expect.objectContaining({ id: MODEL_NAME, default_sampling })]);
  expect(server.output()).toContain("temperature 0.2, top_p 0.9, repetition_penalty 1.05, frequency_penalty 0.1");
});

test("a reader that has seen enough ends a command quietly", async () => {
  const child = Bun.spawn(["sh", "-c", '"$0" doctor | head -c 1', BINARY], { stdio: ["ignore", "pipe", "pipe"] });
  expect(await new Response(child.stderr).text()).toBe("");
});

const FULL_DISK = ["--version", "--help", "help serve", "run --help", "doctor", "licenses", "run --max-tokens 2 hi"];
test.skipIf(!existsSync("/dev/full")).each(FULL_DISK)("scalellm %s > /dev/full says why it stopped", async (args) => {
  const command = ["sh", "-c", `"$0" ${args} > /dev/full`, BINARY];
  const child = Bun.spawn(command, { stdio: ["ignore", "pipe", "pipe"], timeout: GUARD_MS });
  const err = await new Response(child.stderr).text();
  expect(err).toBe("scalellm: the output cannot be written: no space is left on the disk\n");
  expect(await child.exited).toBe(1);
});
