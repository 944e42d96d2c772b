import { afterAll, beforeAll, expect, test } from "bun:test";
import { readdirSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { locateLibrary, openLibrary } from "../../src/backend/library.ts";
import { TempFolder } from "../model/temp-folder.ts";

const folder = new TempFolder();
const binary = folder.file("fixture");

beforeAll(async () => {
  const build = Bun.spawn(
    [process.execPath, "build", "--compile", "test/backend/library-fixture.ts", "--outfile", binary],
    { stdout: "ignore", stderr: "pipe" },
  );
  const errors = await new Response(build.stderr).text();
  if ((await build.exited) !== 0) throw new Error(errors);
}, 120_000);
afterAll(() => folder[Symbol.dispose]());

async function run(args: string[]): Promise<{ path: string; cores: number; inWorker: number; errors: string }> {
  // No folder for temporary files: opening the library must not need one.
  const env = { ...process.env, TMPDIR: "/nowhere", BUN_TMPDIR: "/nowhere" };
  const child = Bun.spawn([binary, ...args], { stdout: "pipe", stderr: "pipe", env, cwd: "/" });
  const [output, errors] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  if ((await child.exited) !== 0) throw new Error(errors);
  return { ...JSON.parse(output), errors };
}

test("a compiled binary opens its library from memory", async () => {
  const { path, cores, inWorker } = await run([]);
  expect(path).toStartWith("/proc/self/fd/");
  expect(cores).toBeGreaterThanOrEqual(1);
  expect(inWorker).toBe(cores);
}, 60_000);

test("... or from a given folder, where a broken copy is replaced and a good one kept", async () => {
  const runtimeDir = folder.file("runtime");
  const { path, cores } = await run([runtimeDir]);
  expect(cores).toBeGreaterThanOrEqual(1);
  expect(readdirSync(runtimeDir).map((name) => join(runtimeDir, name))).toEqual([path]);
  const { ino } = await Bun.file(path).stat();
  await run([runtimeDir]);
  expect((await Bun.file(path).stat()).ino).toBe(ino);
  truncateSync(path, 1000);
  expect((await run([runtimeDir])).cores).toBe(cores);
}, 60_000);

test("a folder that cannot be written is an error that names it", async () => {
  const message = await run(["/proc/nowhere"]).then(
    () => "",
    (error: Error) => error.message,
  );
  expect(message).toContain("cannot be written to /proc/nowhere");
}, 60_000);

test("outside a binary the built file is used as it is", async () => {
  const path = await locateLibrary();
  expect(path).toEndWith("build/libscalellm_cpu.so");
  expect(openLibrary(path)).toBe(openLibrary(path));
  expect(await locateLibrary({ libraryPath: "/elsewhere.so" })).toBe("/elsewhere.so");
  expect(() => openLibrary("/elsewhere.so")).toThrow("/elsewhere.so cannot be opened");
});
