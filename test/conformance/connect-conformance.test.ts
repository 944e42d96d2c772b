import { expect, test } from "bun:test";
import { goTool } from "./go-tools.ts";

const suite = goTool("connectconformance");
const descriptors = goTool("conformance.binpb");

/** The suite has deadlines of its own, and a busy machine may miss one: what fails in each of these is a failure. */
const RUNS = 3;
/** Half of them through TLS, which a proxy of the test's own ends. */
const NUM_CASES = 3800;

/** Runs the suite, or those of its cases that are named. */
async function run(names: readonly string[]): Promise<{ passed: number; failed: string[]; output: string }> {
  const server = [process.execPath, "test/conformance/server.ts", descriptors.path];
  const only = names.flatMap((name) => ["--run", name]);
  const command = [suite.path, "--mode", "server", "--conf", "test/conformance/config.yaml", ...only, "--", ...server];
  const { stdout, stderr, exited } = Bun.spawn(command, { stdout: "pipe", stderr: "pipe" });
  const output = (await Promise.all([new Response(stdout).text(), new Response(stderr).text()])).join("\n");
  const [, passed, failed] = /(\d+) passed, (\d+) failed/.exec(output) ?? [];
  const failures = [...output.matchAll(/^FAILED: (.*):$/gm)].map(([, name]) => name!);
  if ((await exited) !== 0 && failures.length === 0) throw new Error(output.slice(-4000));
  if (Number(failed) !== failures.length) throw new Error(`the suite counts otherwise: ${output.slice(-4000)}`);
  return { passed: Number(passed), failed: failures, output };
}

test.skipIf(suite.missing || descriptors.missing)(
  "every case of Connect's conformance suite passes: Connect, gRPC-Web and gRPC, HTTP/1.1 and HTTP/2, proto and JSON",
  async () => {
    let { passed, failed, output } = await run([]);
    expect(passed + failed.length).toBe(NUM_CASES);
    for (let again = 1; again < RUNS && failed.length > 0 && failed.length < 100; again++) {
      ({ failed, output } = await run(failed));
    }
    if (failed.length > 0) console.error(output.slice(-8000));
    expect(failed).toEqual([]);
  },
  110_000,
);
