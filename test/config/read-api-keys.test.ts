import { afterAll, expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadSettings, withoutSecrets } from "../../src/config/load-settings.ts";
import { readApiKeys } from "../../src/config/read-api-keys.ts";

const folder = mkdtempSync(join(tmpdir(), "scalellm-keys-"));
afterAll(() => rmSync(folder, { recursive: true }));

let files = 0;
function file(text: string): string {
  const path = join(folder, String(++files));
  writeFileSync(path, text);
  return path;
}

const keys = (argv: readonly string[], env = {}) => readApiKeys(loadSettings(argv, env));

test("keys of flags, a file and a descriptor are valid together", () => {
  const path = file("# of the team\r\none\r\n\n  two  \n#three\n");
  expect(keys(["--api-key-file", path])).toEqual(["one", "two"]);
  const descriptor = openSync(path, "r");
  expect(keys(["--api-key", "zero", "--api-key-fd", String(descriptor)])).toEqual(["zero", "one", "two"]);
  closeSync(descriptor);
  expect(keys([])).toEqual([]);
});

test("what cannot be read, or holds no key, is an error that names layer, setting and file", () => {
  for (const [content, why] of [
    ["", "holds no key"],
    ["\n \n# only words\n", "holds no key"],
    ["good\ntwo words\n", "line 2: a key may hold"],
    ["a,b", "line 1: a key must not hold a comma"],
    ["\u00e9", "line 1: a key may hold"],
  ] as const) {
    const path = file(content);
    expect(() => keys(["--api-key-file", path])).toThrow(`--api-key-file: ${path}`);
    expect(() => keys([], { SCALELLM_API_KEY_FILE: path })).toThrow(`SCALELLM_API_KEY_FILE: ${path}`);
    expect(() => keys(["--api-key-file", path])).toThrow(why);
  }
  expect(() => keys(["--api-key-file", join(folder, "none")])).toThrow("cannot be read: no such file");
  expect(() => keys(["--api-key-file", folder])).toThrow("cannot be read: it is a folder");
  expect(() => keys(["--api-key-fd", "999"])).toThrow("--api-key-fd: descriptor 999 cannot be read");
  expect(() => keys(["--api-key-fd", "-1"])).toThrow("--api-key-fd: expected the number");
  // Files without an end.
  expect(() => keys(["--api-key-file", "/dev/zero"])).toThrow("/dev/zero cannot be read: larger than 1048576 bytes");
  expect(() => keys(["--config", "/dev/zero"])).toThrow("--config /dev/zero: larger than 1048576 bytes");
  const config = file(`api-key-file: ${join(folder, "none")}`);
  expect(() => keys(["--config", config])).toThrow(`--config ${config}: 'api-key-file'`);
});

test("arguments without what names keys or where they are", () => {
  const argv = ["m.gguf", "--api-key", "s1", "--port", "1", "--api-key=s2", "--no-grpc", "--api-key-file", "s3"];
  const more = ["--config", "--api-key", "--api-key-fd=3", "--host", "::1", "--", "--api-key", "x"];
  expect(withoutSecrets([...argv, ...more])).toEqual([
    ...["m.gguf", "--port", "1", "--no-grpc", "--config", "--api-key", "--host", "::1", "--", "--api-key", "x"],
  ]);
});
