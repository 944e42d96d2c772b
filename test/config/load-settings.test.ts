import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadSettings } from "../../src/config/load-settings.ts";
import { ConfigError, parseBytes } from "../../src/config/parse.ts";

const folder = mkdtempSync(join(tmpdir(), "scalellm-settings-"));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

describe("layers", () => {
  test("defaults < file < environment < flags", () => {
    const yaml = file("a.yaml", "port: 1001\nthreads: 3\nmax_num_seqs: 7\nhost: 0.0.0.0\n");
    const { settings } = loadSettings(["--config", yaml, "--port", "1003"], {
      SCALELLM_PORT: "1002",
      SCALELLM_THREADS: "5",
    });
    expect(settings.port).toBe(1003);
    expect(settings.threads).toBe(5);
    expect(settings.maxNumSeqs).toBe(7);
    expect(settings.host).toBe("0.0.0.0");
    expect(settings.blockSize).toBe(16);
    expect(Object.isFrozen(settings)).toBe(true);
  });

  test("a JSON file, its path from the environment", () => {
    const json = file("b.json", JSON.stringify({ "api-key": ["x", "y"], "prefix-caching": false }));
    const { settings } = loadSettings([], { SCALELLM_CONFIG: json });
    expect(settings.apiKey).toEqual(["x", "y"]);
    expect(settings.prefixCaching).toBe(false);
  });

  test("lists replace the layer below, and gather within one", () => {
    const { settings } = loadSettings(["--api-key", "c", "--api-key=d"], { SCALELLM_API_KEY: "a,b" });
    expect(settings.apiKey).toEqual(["c", "d"]);
    expect(loadSettings([], { SCALELLM_API_KEY: "a,b" }).settings.apiKey).toEqual(["a", "b"]);
  });

  test("a setting without a value in a file is not set", () => {
    const { settings } = loadSettings(["--config", file("null.yaml", "model:\nport: 1001\ndtype: ~\n")], {});
    expect([settings.model, settings.port, settings.dtype]).toEqual(["", 1001, "auto"]);
  });

  test("a variable that looks like a mistyped setting is told, others of its prefix are not", () => {
    const kubernetes = { SCALELLM_SERVICE_HOST: "10.0.0.1", SCALELLM_SERVICE_PORT: "8000", SCALELLM_PORT: "" };
    expect(loadSettings([], { ...kubernetes, SCALELLM_PROT: "1", SCALELLM_SUPERVISED: "1" }).warnings).toEqual([
      "SCALELLM_PROT is no setting and is ignored. Did you mean SCALELLM_PORT?",
    ]);
  });

  test.each(["SCALELLM_APIKEY", "SCALELLM_API_KEYS", "SCALELLM_API_KEY_FILES", "SCALELLM_APIKEY_FILE"])(
    "%s is no key: it would leave the server open",
    (name) =>
      expect(() => loadSettings([], { [name]: "x" })).toThrow(`${name} is no setting. Did you mean SCALELLM_API`),
  );

  test("switches and positionals", () => {
    const loaded = loadSettings(["model.gguf", "--no-grpc", "--prefix-caching=off", "--", "--odd"], {});
    expect(loaded.settings.grpc).toBe(false);
    expect(loaded.settings.prefixCaching).toBe(false);
    expect(loaded.positionals).toEqual(["model.gguf", "--odd"]);
  });
});

describe("errors say what to do", () => {
  test.each([
    [["--prot", "1"], {}, "unknown option --prot. Did you mean --port?"],
    [["--port", "70000"], {}, "--port: expected an integer between 0 and 65535, got '70000'"],
    [["--port"], {}, "--port needs a value"],
    [["--no-port"], {}, "unknown option --no-port."],
    [["--dtype", "int4"], {}, "--dtype: expected one of auto, float32, bfloat16, int8, got 'int4'"],
    [
      [],
      { SCALELLM_KV_CACHE_MEMORY: "lots" },
      "SCALELLM_KV_CACHE_MEMORY: expected a size such as 512MiB or 2GB, got 'lots'",
    ],
    [["--config", join(folder, "none.yaml")], {}, "--config"],
    [["--api-key", ""], {}, "--api-key: a key must not be empty"],
    [[], { SCALELLM_API_KEY: "one," }, "SCALELLM_API_KEY: a key must not be empty"],
    [["--api-key", "two words"], {}, "--api-key: a key may hold printable ASCII without spaces only"],
  ])("%j %j", (argv, env, message) => {
    expect(() => loadSettings(argv, env)).toThrow(ConfigError);
    expect(() => loadSettings(argv, env)).toThrow(message);
  });

  test("in a file", () => {
    expect(() => loadSettings(["--config", file("c.yaml", "prot: 1")], {})).toThrow(
      "unknown setting 'prot'. Did you mean port?",
    );
    expect(() => loadSettings(["--config", file("d.yaml", "port: [1, 2]")], {})).toThrow(
      "'port' must be a plain value",
    );
    expect(() => loadSettings(["--config", file("e.yaml", "- 1")], {})).toThrow("expected a map");
  });
});

test("sizes", () => {
  expect(parseBytes("512MiB")).toBe(512 * 2 ** 20);
  expect(parseBytes("2g")).toBe(2e9);
  expect(parseBytes("1.5 KiB")).toBe(1536);
  expect(parseBytes("1e9")).toBe(1e9);
});
