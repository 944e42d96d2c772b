import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { TempFolder } from "../temp-folder.ts";
import { FakeHub } from "./fake-hub.ts";

test("pull works inside a compiled binary", async () => {
  using folder = new TempFolder();
  await using hub = await FakeHub.start({ "tiny.gguf": "not really" });
  const binary = folder.file("puller");
  const build = Bun.spawn(
    [process.execPath, "build", "--compile", "test/model/hub/compiled-fixture.ts", "--outfile", binary],
    { stdout: "ignore", stderr: "pipe" },
  );
  const buildErrors = await new Response(build.stderr).text();
  if ((await build.exited) !== 0) throw new Error(buildErrors);
  const child = Bun.spawn([binary, hub.endpoint, folder.file("cache"), "org/tiny"], { stdout: "pipe", stderr: "pipe" });
  const [output, errors] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  if ((await child.exited) !== 0) throw new Error(errors);
  expect(readFileSync(output.trim(), "utf8")).toBe("not really");
}, 120_000);
