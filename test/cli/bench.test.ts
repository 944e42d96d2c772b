import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type MockServer, startMockServer } from "../../bench/mock-server.ts";
import { decodeResults } from "../../src/bench/results-file.ts";
import { benchFlagsHelp, splitBenchFlags } from "../../src/cli/bench-flags.ts";
import { headersOf, requireUniqueLabels } from "../../src/cli/bench-plan.ts";

let folder = "";
let server: MockServer;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "scalellm-bench-"));
  server = startMockServer({ ttftMs: 1 });
});
afterAll(async () => {
  server.stop();
  await rm(folder, { recursive: true, force: true });
});

function bench(...args: string[]) {
  return Bun.spawn([process.execPath, "src/main.ts", "bench", ...args], { stdout: "pipe", stderr: "pipe" });
}

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const child = bench(...args);
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { code: await child.exited, out, err };
}

const QUICK = ["--requests", "4", "--output-tokens", "3", "--warmup", "0"];

describe("flags", () => {
  test("of bench are taken out, the rest is for the server", () => {
    const flags = splitBenchFlags(["a=http://h", "--rate", "1,2", "--threads", "2", "--header=X: -y", "--details"]);
    expect(flags.value("rate")).toBe("1,2");
    expect(flags.values("header")).toEqual(["X: -y"]);
    expect([flags.has("details"), flags.has("compare"), flags.value("html")]).toEqual([true, false, undefined]);
    expect(flags.rest).toEqual(["a=http://h", "--threads", "2"]);
  });

  test("that repeat or lack their value are refused", () => {
    expect(() => splitBenchFlags(["--rate", "1", "--rate", "2"])).toThrow("--rate is given twice");
    expect(() => splitBenchFlags(["--rate"])).toThrow("--rate needs a value");
    expect(() => splitBenchFlags(["--details=5"])).toThrow("--details");
  });

  test("are all in the help", () => {
    const help = benchFlagsHelp(["Load", "Requests", "Measuring", "Output", "Profile"]);
    for (const name of ["concurrency", "shared-prefix", "slo", "compare", "chrome-trace"])
      expect(help).toContain(`--${name}`);
    for (const line of help.split("\n")) expect(line.length).toBeLessThanOrEqual(125);
  });

  test("headers carry the key; labels are unique", () => {
    const flags = splitBenchFlags(["--header", "X-Org: me"]);
    expect(headersOf(flags, "k")).toEqual({ authorization: "Bearer k", "x-org": "me" });
    expect(() => headersOf(splitBenchFlags(["--header", "broken"]), undefined)).toThrow("--header");
    const endpoint = { label: "a", baseUrl: new URL("http://h/v1"), model: undefined };
    expect(() => requireUniqueLabels([endpoint, endpoint])).toThrow("two endpoints are called a");
  });
});

describe("the command", () => {
  test("measures, prints, and writes files that it can compare", async () => {
    const [json, html] = [join(folder, "a.json"), join(folder, "a.html")];
    const endpoints = [`x=${server.url}`, `y=${server.url}`];
    await Bun.write(json, "of an earlier, longer run\n".repeat(10_000));
    const measured = await run(...endpoints, "--concurrency", "1,2", ...QUICK, "--output", json, "--html", html);
    expect(measured.err).toContain("y c=2: 4 finished");
    expect(measured.code).toBe(0);
    expect(measured.out).toMatch(/Throughput[^\n]*\n\n +c=1 +c=2/);
    const { info, records } = decodeResults(await Bun.file(json).text(), "a.json");
    expect(info.endpoints.map((endpoint) => endpoint.label)).toEqual(["x", "y"]);
    expect(records.filter((record) => record.error === undefined)).toHaveLength(16);
    expect(await Bun.file(html).text()).toContain("<title>Benchmark: x and y</title>");
    const compared = await run("--compare", json, json);
    expect(compared.code).toBe(0);
    expect(compared.out).toMatch(/E2E mean .* 1\.000 .* unclear/);
  }, 60_000);

  test("Ctrl-C ends early and keeps the results", async () => {
    const slow = startMockServer({ ttftMs: 5, itlMs: 5 });
    const json = join(folder, "cut.json");
    const endless = ["--concurrency", "2", "--requests", "100000", "--output-tokens", "4"];
    try {
      const child = bench(slow.url, ...endless, "--output", json);
      // Probes ask for other lengths.
      const isMeasured = (body: Record<string, unknown>): boolean => body.stream === true && body.max_tokens === 4;
      while (slow.requests.filter(isMeasured).length < 20) await Bun.sleep(10);
      child.kill("SIGINT");
      expect(await child.exited).toBe(130);
      const { records } = decodeResults(await Bun.file(json).text(), "cut.json");
      expect(records.filter((record) => record.error === undefined).length).toBeGreaterThan(5);
      expect(await new Response(child.stdout).text()).toContain("Throughput");
    } finally {
      slow.stop();
    }
  }, 60_000);

  test("says what is wrong", async () => {
    const cases: Array<readonly [string[], number, string]> = [
      [[server.url, "--slo", "fast"], 1, "--slo"],
      [[server.url, "--unknown"], 2, "--unknown"],
      [[server.url, "--trace", join(folder, "missing")], 2, "no such file"],
      [["--compare", "one.json"], 2, "two files"],
      [["http://127.0.0.1:9"], 1, "cannot reach"],
    ];
    for (const [args, code, message] of cases) {
      const result = await run(...args);
      expect(result.err).toContain(message);
      expect(result.code).toBe(code);
    }
    const help = await run("--help");
    expect([help.code, help.out.startsWith("Usage: scalellm bench")]).toEqual([0, true]);
  }, 60_000);
});
