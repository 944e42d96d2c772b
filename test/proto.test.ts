import { expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Glob } from "bun";

const BUF = resolve("node_modules/.bin/buf");

async function buf(...args: string[]): Promise<void> {
  const run = Bun.spawn([BUF, ...args], { cwd: "proto", stdout: "pipe", stderr: "pipe" });
  const [code, out, err] = await Promise.all([
    run.exited,
    new Response(run.stdout).text(),
    new Response(run.stderr).text(),
  ]);
  if (code !== 0) throw new Error(`buf ${args.join(" ")} failed:\n${out}${err}`);
}

test("the protos are lint-free and formatted", async () => {
  await buf("lint");
  await buf("format", "--diff", "--exit-code");
});

test("src/gen is what the protos generate", async () => {
  const folder = await mkdtemp(join(tmpdir(), "scalellm-proto-"));
  try {
    await buf("generate", "--output", join(folder, "proto"));
    const list = (root: string) => [...new Glob("**/*.ts").scanSync(root)].sort();
    const generated = list(join(folder, "src/gen"));
    expect(generated).toEqual(list("src/gen"));
    expect(generated.length).toBeGreaterThan(0);
    for (const file of generated) {
      const fresh = await Bun.file(join(folder, "src/gen", file)).text();
      expect(fresh, file).toBe(await Bun.file(join("src/gen", file)).text());
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});
