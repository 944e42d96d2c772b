import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadSettings } from "../../src/config/load-settings.ts";
import { OPTIONS, type Option } from "../../src/config/options.ts";
import { ConfigError } from "../../src/config/parse.ts";

const folder = mkdtempSync(join(tmpdir(), "scalellm-empty-"));
afterAll(() => rmSync(folder, { recursive: true }));

let files = 0;
function config(text: string): string {
  const path = join(folder, `${++files}.yaml`);
  writeFileSync(path, text);
  return path;
}

/** The message of the refusal; undefined where the settings were taken. */
function refusal(argv: readonly string[], env: Record<string, string> = {}): string | undefined {
  try {
    loadSettings(argv, env);
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as Error).message;
  }
}

const SECURITY = (Object.values(OPTIONS) as unknown as Option<unknown>[]).filter((option) => option.security);
const NAMES = SECURITY.map(({ name }) => name);
const OPTIONS_BY_NAME = new Map(SECURITY.map((option) => [option.name, option]));

test("what decides who may use a server is known as such", () => {
  for (const name of ["host", "api-key", "api-key-file", "api-key-fd", "allowed-host", "cors-origin"])
    expect(NAMES).toContain(name);
});

test.each(NAMES)("--%s: empty in any layer is an error that names layer and setting", (name) => {
  const variable = `SCALELLM_${name.replaceAll("-", "_").toUpperCase()}`;
  for (const value of ["", " ", "\t"]) {
    expect(refusal([], { [variable]: value })).toStartWith(`${variable}: `);
    expect(refusal([`--${name}=${value}`])).toStartWith(`--${name}: `);
  }
  if (OPTIONS_BY_NAME.get(name)!.hint !== undefined) {
    expect(refusal([`--${name}`, ""])).toStartWith(`--${name}: `);
    // A variable that was not set, in a script.
    expect(refusal([`--${name}`])).toContain("needs a value");
    expect(refusal([`--${name}`, "--no-grpc"])).toContain("needs a value");
  }
  for (const spelled of [name, name.replaceAll("-", "_")]) {
    for (const value of ["", "~", "null", '""', "' '", "[]", '[""]', "[null]", "{}", "[[]]"]) {
      const path = config(`port: 1\n${spelled}: ${value}\n`);
      const message = refusal(["--config", path]);
      expect({ value, message }).toEqual({ value, message: expect.stringContaining(`--config ${path}: '${spelled}'`) });
    }
  }
});

test("an empty value is an error though a layer above has one", () => {
  expect(refusal(["--api-key", "k"], { SCALELLM_API_KEY: "" })).toStartWith("SCALELLM_API_KEY: ");
  expect(refusal(["--api-key", "k", "--config", config("api-key:")])).toContain("'api-key'");
});

test("a list with an empty part is an error, and so is a key with a comma", () => {
  for (const value of [",", "a,", ",a", "a,,b", "a, ,b"])
    for (const name of ["API_KEY", "CORS_ORIGIN", "ALLOWED_HOST"])
      expect(refusal([], { [`SCALELLM_${name}`]: value })).toStartWith(`SCALELLM_${name}: `);
  expect(refusal(["--api-key", "a,b"])).toContain("comma");
  expect(refusal(["--config", config('api-key: "a,b"')])).toContain("comma");
});

test("a settings file that is named but empty is an error", () => {
  for (const text of ["", "\n", "# nothing\n", "---\n", "null", "~"])
    expect(refusal(["--config", config(text)])).toContain("has no settings");
  for (const argv of [["--config", ""], ["--config="]]) expect(refusal(argv)).toContain("--config");
  for (const value of ["", " "]) expect(refusal([], { SCALELLM_CONFIG: value })).toContain("SCALELLM_CONFIG");
});

test("a setting given twice in a file is an error, in one spelling or two", () => {
  for (const text of ["api-key: a\napi-key: b", "api-key: a\napi_key: b", '{"host": "::1", "host": "0.0.0.0"}'])
    expect(refusal(["--config", config(text)])).toBeString();
});

test("a key that YAML reads as a number is asked for in quotes", () => {
  for (const value of ["0123", "1e3", "0x1f", "true", "[a, 12]"])
    expect(refusal(["--config", config(`api-key: ${value}`)])).toContain("quotes");
  expect(loadSettings(["--config", config('api-key: ["0123", abc]')], {}).settings.apiKey).toEqual(["0123", "abc"]);
});

test("origins and names are what browsers send", () => {
  const { settings } = loadSettings(["--cors-origin", "HTTPS://App.example:8443", "--allowed-host=LLM.example"], {});
  expect([settings.corsOrigin, settings.allowedHost]).toEqual([["https://app.example:8443"], ["llm.example"]]);
  // Browsers leave the scheme's own port out.
  const ports = ["https://a.example:443", "http://[::1]:80", "http://a.example:443"].map((at) => `--cors-origin=${at}`);
  expect(loadSettings(ports, {}).settings.corsOrigin).toEqual([
    "https://a.example",
    "http://[::1]",
    "http://a.example:443",
  ]);
  for (const origin of ["https://app.example/", "app.example", "null", "https://", "https://*.example", "https://a b"])
    expect(refusal(["--cors-origin", origin])).toStartWith("--cors-origin: ");
  for (const host of ["http://a", "a:80", "a/b", "-a", "*.a"]) expect(refusal(["--allowed-host", host])).toBeString();
});
