import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

/** Each begins something that throws where nobody catches it, while its own test goes on and passes. */
const LOST = {
  "a reported fault": `reportFault(new Error("lost"));`,
  "a rejected promise": `void Promise.reject(new Error("lost"));`,
  "an async function that nobody awaits": `void (async () => { await 1; throw new Error("lost"); })();`,
  "a timer": `setTimeout(() => { throw new Error("lost"); }, 1);`,
  "a listener": `const a = new AbortController(); a.signal.onabort = () => { throw new Error("lost"); }; a.abort();`,
  "the last test's leftovers": `setTimeout(() => void Promise.reject(new Error("lost")), 1); return;`,
};

test.each(Object.entries(LOST))("%s fails the test run, whatever listens", async (_name, code) => {
  const folder = mkdtempSync(join(tmpdir(), "scalellm-fault-"));
  const source = JSON.stringify(resolve("src/core/report-fault.ts"));
  writeFileSync(
    join(folder, "lost.test.ts"),
    `import { afterAll, test } from "bun:test";
    import { reportFault } from ${source};
    process.on("uncaughtException", () => {});
    process.on("unhandledRejection", () => {});
    afterAll(() => Bun.sleep(30));
    test("passes by itself", async () => { ${code} await Bun.sleep(20); void reportFault; });`,
  );
  try {
    const run = Bun.spawn([process.execPath, "test"], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
    expect(await run.exited).not.toBe(0);
    expect(await new Response(run.stderr).text()).toContain("lost");
  } finally {
    rmSync(folder, { recursive: true });
  }
});
