import { expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { ServeError } from "../../../src/core/errors.ts";
import { RepoCache, resolveCached } from "../../../src/model/hub/cache-layout.ts";
import { type PullOptions, type PullProgress, pull } from "../../../src/model/hub/pull.ts";
import { openModel } from "../../../src/model/open-model.ts";
import { Random } from "../random.ts";
import { TempFolder } from "../temp-folder.ts";
import { FakeHub } from "./fake-hub.ts";

const GOLDEN = "test/fixtures/goldens/tiny-llama";
const CHECKPOINT = Object.fromEntries(
  ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"].map(
    (name) => [name, readFileSync(join(GOLDEN, name))],
  ),
);

function noise(length: number, seed: number): Buffer {
  const random = new Random(seed);
  return Buffer.from(Array.from({ length }, () => random.int(256)));
}

const GGUFS = {
  "README.md": "# Tiny",
  "tiny-Q4_K_M.gguf": noise(300_000, 1),
  "tiny-Q8_0.gguf": noise(1000, 2),
  "big/tiny-f16-00001-of-00002.gguf": noise(500, 3),
  "big/tiny-f16-00002-of-00002.gguf": noise(600, 4),
};
const Q4 = "tiny-Q4_K_M.gguf";

function options(hub: FakeHub, folder: TempFolder, more: Partial<PullOptions> = {}): PullOptions {
  return { endpoint: hub.endpoint, cacheDir: folder.file("hub"), backoffMs: 1, ...more };
}

async function failure(pulled: Promise<unknown>): Promise<ServeError> {
  const error = await pulled.then(
    () => new Error("nothing was thrown"),
    (reason: unknown) => reason,
  );
  if (error instanceof ServeError) return error;
  throw error;
}

test("a checkpoint arrives in the shared cache's layout, opens, and is found again without the network", async () => {
  const hub = await FakeHub.start({
    ...CHECKPOINT,
    "pytorch_model.bin": "no",
    "README.md": "no",
    "onnx/model.onnx": "no",
  });
  using folder = new TempFolder();
  const cacheDir = folder.file("hub");
  expect(resolveCached("org/tiny", { cacheDir })).toBeUndefined();
  const pulled = await pull("org/tiny", options(hub, folder));
  const root = join(cacheDir, "models--org--tiny");
  expect(pulled.path).toBe(join(root, "snapshots", hub.commit));
  expect(readFileSync(join(root, "refs/main"), "utf8")).toBe(hub.commit);
  expect(readdirSync(pulled.path).sort()).toEqual(Object.keys(CHECKPOINT).sort());
  expect(readlinkSync(join(pulled.path, "model.safetensors"))).toBe(`../../blobs/${hub.sha256("model.safetensors")}`);
  expect(readlinkSync(join(pulled.path, "config.json"))).toBe(`../../blobs/${hub.gitSha1("config.json")}`);
  for (const [name, content] of Object.entries(CHECKPOINT)) {
    expect(readFileSync(join(pulled.path, name)).equals(content)).toBe(true);
  }
  expect(readdirSync(join(root, "blobs")).filter((name) => name.includes("."))).toEqual([]);
  expect(openModel(pulled.path)).toMatchObject({ name: "tiny", quantization: "BF16" });
  await hub[Symbol.asyncDispose]();
  expect(resolveCached("org/tiny", { cacheDir })).toBe(pulled.path);
  expect(resolveCached("org/tiny", { cacheDir, revision: hub.commit })).toBe(pulled.path);
  expect(resolveCached("org/tiny", { cacheDir, revision: "v2" })).toBeUndefined();
  // A blob that someone deleted makes the model incomplete.
  rmSync(join(root, "blobs", hub.sha256("model.safetensors")));
  expect(resolveCached("org/tiny", { cacheDir })).toBeUndefined();
});

test("a GGUF by name, by the end of its name, and in parts", async () => {
  await using hub = await FakeHub.start(GGUFS);
  using folder = new TempFolder();
  const { cacheDir } = options(hub, folder);
  const byTag = await pull("org/tiny:q4_k_m", options(hub, folder));
  expect(byTag.path).toEndWith(`/${Q4}`);
  expect(byTag.files).toEqual([Q4]);
  expect(readFileSync(byTag.path).equals(GGUFS[Q4])).toBe(true);
  expect(resolveCached("org/tiny:Q4_K_M", { cacheDir })).toBe(byTag.path);
  expect(resolveCached(`org/tiny:${Q4}`, { cacheDir })).toBe(byTag.path);
  expect(resolveCached("org/tiny:Q8_0", { cacheDir })).toBeUndefined();
  const parts = await pull("org/tiny:f16", options(hub, folder));
  expect(parts.files).toHaveLength(2);
  expect(parts.path).toEndWith("big/tiny-f16-00001-of-00002.gguf");
  expect(readFileSync(parts.path.replace("00001-of", "00002-of"))).toHaveLength(600);
  expect((await failure(pull("org/tiny", options(hub, folder)))).message).toContain("has several GGUF files");
  const error = await failure(pull("org/tiny:Q5_K_S", options(hub, folder)));
  expect(error.code).toBe("not_found");
  expect(error.message).toContain("it has big/tiny-f16-00001-of-00002.gguf, tiny-Q4_K_M.gguf, tiny-Q8_0.gguf");
  expect((await failure(pull("org/tiny:README.md", options(hub, folder)))).message).toContain("not a GGUF file");
});

test("what is there is not downloaded again", async () => {
  await using hub = await FakeHub.start(GGUFS);
  using folder = new TempFolder();
  await pull("org/tiny:Q4_K_M", options(hub, folder));
  const states: string[] = [];
  await pull("org/tiny:Q4_K_M", options(hub, folder, { onProgress: ({ state }) => void states.push(state) }));
  expect(states).toEqual(["listed", "cached"]);
  expect(hub.downloads(Q4)).toHaveLength(1);
});

test("cut connections are continued where they ended", async () => {
  await using hub = await FakeHub.start(GGUFS);
  using folder = new TempFolder();
  hub.faults.cut = { file: Q4, afterBytes: 70_000, times: 3 };
  const progress: PullProgress[] = [];
  const pulled = await pull(
    "org/tiny:Q4_K_M",
    options(hub, folder, { onProgress: (p) => void progress.push({ ...p }) }),
  );
  expect(readFileSync(pulled.path).equals(GGUFS[Q4])).toBe(true);
  const [first, ...resumed] = hub.downloads(Q4).map(({ range }) => range);
  expect(first).toBeUndefined();
  expect(resumed).toEqual(["bytes=70000-", "bytes=140000-", "bytes=210000-"]);
  const done = progress.filter(({ state }) => state === "downloading").map(({ doneBytes }) => doneBytes);
  expect(done).toEqual([...done].sort((a, b) => a - b));
  expect(progress[0]).toEqual({ file: Q4, doneBytes: 0, totalBytes: 300_000, state: "listed" });
  expect(progress.at(-2)!.state).toBe("verifying");
  expect(progress.at(-1)).toEqual({ file: Q4, doneBytes: 300_000, totalBytes: 300_000, state: "done" });
});

test("a connection that falls silent is replaced", async () => {
  await using hub = await FakeHub.start(GGUFS);
  using folder = new TempFolder();
  hub.faults.cut = { file: Q4, afterBytes: 70_000, times: 1, silently: true };
  const pulled = await pull("org/tiny:Q4_K_M", options(hub, folder, { stallMs: 300 }));
  expect(readFileSync(pulled.path).equals(GGUFS[Q4])).toBe(true);
  expect(hub.downloads(Q4).map(({ range }) => range)).toEqual([undefined, "bytes=70000-"]);
});

test("a partial file of an earlier run is continued; a broken one is thrown away", async () => {
  await using hub = await FakeHub.start(GGUFS);
  using folder = new TempFolder();
  const incomplete = `${new RepoCache(folder.file("hub"), "org/tiny").blob(hub.sha256(Q4))}.incomplete`;
  mkdirSync(dirname(incomplete), { recursive: true });
  writeFileSync(incomplete, GGUFS[Q4].subarray(0, 123_456));
  const pulled = await pull("org/tiny:Q4_K_M", options(hub, folder));
  expect(hub.downloads(Q4).map(({ range }) => range)).toEqual(["bytes=123456-"]);
  expect(readFileSync(pulled.path).equals(GGUFS[Q4])).toBe(true);

  for (const stale of [noise(1000, 9), noise(400_000, 9)]) {
    rmSync(incomplete.slice(0, -".incomplete".length));
    writeFileSync(incomplete, stale);
    await pull("org/tiny:Q4_K_M", options(hub, folder));
    expect(readFileSync(pulled.path).equals(GGUFS[Q4])).toBe(true);
    expect(existsSync(incomplete)).toBe(false);
  }
});

test("a server that ignores ranges is read from the start", async () => {
  await using hub = await FakeHub.start(GGUFS);
  using folder = new TempFolder();
  hub.faults = { cut: { file: Q4, afterBytes: 70_000, times: 1 }, ignoreRanges: true };
  const pulled = await pull("org/tiny:Q4_K_M", options(hub, folder));
  expect(readFileSync(pulled.path).equals(GGUFS[Q4])).toBe(true);
});

test("corrupt content is tried again once, and never ends up in the cache", async () => {
  await using hub = await FakeHub.start(GGUFS);
  using folder = new TempFolder();
  hub.faults.corrupt = { file: Q4, times: 1 };
  const pulled = await pull("org/tiny:Q4_K_M", options(hub, folder));
  expect(readFileSync(pulled.path).equals(GGUFS[Q4])).toBe(true);

  using other = new TempFolder();
  hub.faults.corrupt = { file: Q4, times: 100 };
  const error = await failure(pull("org/tiny:Q4_K_M", options(hub, other)));
  expect(error.code).toBe("unavailable");
  expect(error.message).toContain("tiny-Q4_K_M.gguf");
  expect(error.message).toContain("corrupt: its sha256 is wrong");
  expect(resolveCached("org/tiny:Q4_K_M", { cacheDir: other.file("hub") })).toBeUndefined();
  expect(readdirSync(other.file("hub/models--org--tiny"))).not.toContain("refs");

  await using small = await FakeHub.start(CHECKPOINT);
  small.faults.corrupt = { file: "config.json", times: 100 };
  using third = new TempFolder();
  expect((await failure(pull("org/tiny", options(small, third)))).message).toContain("its git-sha1 is wrong");
});

test("busy servers are asked again, and given up in the end", async () => {
  await using hub = await FakeHub.start(GGUFS);
  using folder = new TempFolder();
  hub.faults.fail = { path: /revision/, status: 503, times: 2 };
  await pull("org/tiny:Q8_0", options(hub, folder));
  hub.faults.fail = { path: /Q4_K_M/, status: 429, times: 2 };
  await pull("org/tiny:Q4_K_M", options(hub, folder));
  hub.faults.fail = { path: /f16/, status: 500, times: 1000 };
  const error = await failure(pull("org/tiny:f16", options(hub, folder)));
  expect(error.code).toBe("unavailable");
  expect(error.message).toContain("the server answered 500");
});

test("the token goes to the hub and not to where it redirects", async () => {
  await using hub = await FakeHub.start(GGUFS);
  using folder = new TempFolder();
  hub.token = "a-mirror's-token";
  const refused = await failure(pull("org/tiny:Q4_K_M", options(hub, folder)));
  expect(refused.code).toBe("unauthenticated");
  expect(refused.message).toContain("set HF_TOKEN");
  const wrong = await failure(pull("org/tiny:Q4_K_M", options(hub, folder, { token: "hf_wrong" })));
  expect(wrong.message).toContain("the token is not valid");
  hub.requests.length = 0;
  await pull("org/tiny:Q4_K_M", options(hub, folder, { token: hub.token }));
  expect(hub.requests.some(({ onCdn }) => onCdn)).toBe(true);
  for (const { onCdn, authorization } of hub.requests) {
    expect(authorization).toBe(onCdn ? undefined : `Bearer ${hub.token}`);
  }
});

test("repositories, revisions and hubs that are not there", async () => {
  await using hub = await FakeHub.start(GGUFS);
  using folder = new TempFolder();
  const missing = await failure(pull("org/nothing", options(hub, folder)));
  expect(missing.code).toBe("not_found");
  expect(missing.message).toContain("org/nothing at main");
  expect((await failure(pull("org/tiny:Q8_0", options(hub, folder, { revision: "v9" })))).code).toBe("not_found");
  hub.faults.fail = { path: /revision/, status: 403, times: 1 };
  expect((await failure(pull("org/tiny:Q8_0", options(hub, folder)))).code).toBe("permission_denied");
  const nowhere = options(hub, folder, { endpoint: "http://127.0.0.1:1" });
  const unreachable = await failure(pull("org/tiny", nowhere));
  expect(unreachable.code).toBe("unavailable");
  expect(unreachable.message).toContain("http://127.0.0.1:1 cannot be reached");
  for (const bad of ["tiny", "org/tiny/more", "../org", "org/..", "org/tiny:", "org/tiny:../x", "a--b/c", "./model"]) {
    expect((await failure(pull(bad, options(hub, folder)))).code).toBe("invalid_argument");
  }
});

test("a hub that cannot be reached is a sentence at once, whatever the pause between attempts", async () => {
  using folder = new TempFolder();
  // Accepts, and says nothing: what a firewall or a captive network does.
  using silent = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const data = (client: { end(text: string): unknown }) => void client.end("HTTP/1.1 418 \x1b[31mno\r\n\r\n");
  using strange = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data } });
  const CASES = {
    [`http://127.0.0.1:${strange.port}`]: "it does not speak HTTP",
    "http://127.0.0.1:1": "nothing listens there",
    "http://nope.invalid": "no such host",
    "nope.invalid": "that is no URL",
    "ftp://127.0.0.1": "protocol must be",
    [`http://127.0.0.1:${silent.port}`]: "no answer came in time",
  };
  for (const [endpoint, reason] of Object.entries(CASES)) {
    // The first pause alone would outlast the test.
    const options = { endpoint, cacheDir: folder.file("hub"), backoffMs: 600_000, stallMs: 300 };
    const error = await failure(pull("org/tiny", options));
    expect(error.code).toBe("unavailable");
    expect(error.message).toStartWith(`${endpoint} cannot be reached: ${reason}`);
  }
});

test("other revisions", async () => {
  await using hub = await FakeHub.start(GGUFS);
  using folder = new TempFolder();
  const { cacheDir } = options(hub, folder);
  const byRef = await pull("org/tiny:Q8_0", options(hub, folder, { revision: "refs/pr/1" }));
  expect(resolveCached("org/tiny:Q8_0", { cacheDir, revision: "refs/pr/1" })).toBe(byRef.path);
  expect(resolveCached("org/tiny:Q8_0", { cacheDir })).toBeUndefined();
  await pull("org/tiny:Q8_0", options(hub, folder, { revision: hub.commit }));
  expect(readdirSync(join(cacheDir, "models--org--tiny/refs"))).toEqual(["refs"]);
});

test("an aborted pull stops, keeps its part, and goes on later", async () => {
  await using hub = await FakeHub.start(GGUFS);
  using folder = new TempFolder();
  const stop = new AbortController();
  hub.faults.cut = { file: Q4, afterBytes: 70_000, times: 1000 };
  const onProgress = ({ doneBytes }: PullProgress) => {
    if (doneBytes >= 140_000) stop.abort();
  };
  const error = await failure(pull("org/tiny:Q4_K_M", options(hub, folder, { signal: stop.signal, onProgress })));
  expect(error.code).toBe("cancelled");
  hub.faults = {};
  hub.requests.length = 0;
  await pull("org/tiny:Q4_K_M", options(hub, folder));
  expect(hub.downloads(Q4).map(({ range }) => range)).toEqual(["bytes=140000-"]);
  const already = AbortSignal.abort();
  expect((await failure(pull("org/tiny:Q8_0", options(hub, folder, { signal: already })))).code).toBe("cancelled");
});

test("two pulls of one file download it once", async () => {
  await using hub = await FakeHub.start(GGUFS);
  using folder = new TempFolder();
  let release = () => {};
  const until = new Promise<void>((resolve) => {
    release = resolve;
  });
  hub.faults.hold = { file: Q4, until };
  const both = [pull("org/tiny:Q4_K_M", options(hub, folder)), pull("org/tiny:Q4_K_M", options(hub, folder))];
  while (hub.downloads(Q4).length === 0) await Bun.sleep(5);
  release();
  const [first, second] = await Promise.all(both);
  expect(first).toEqual(second!);
  expect(hub.downloads(Q4)).toHaveLength(1);
  expect(readdirSync(folder.file("hub/.locks/models--org--tiny"))).toEqual([]);
});

test("paths from the hub cannot leave the cache or control the terminal", async () => {
  for (const path of ["../../evil.json", "/etc/evil.json", "a//b.json", "a\u001b[2J.json"]) {
    await using hub = await FakeHub.start({ [path]: "{}", ...CHECKPOINT });
    using folder = new TempFolder();
    const error = await failure(pull("org/tiny", options(hub, folder)));
    expect(error.message).toContain(`lists the path ${JSON.stringify(path)}`);
  }
});
