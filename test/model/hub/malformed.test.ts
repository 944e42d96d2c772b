import { expect, test } from "bun:test";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { ServeError } from "../../../src/core/errors.ts";
import { parseHubId, requireRevision } from "../../../src/model/hub/hub-id.ts";
import { pull } from "../../../src/model/hub/pull.ts";
import { Random } from "../random.ts";
import { TempFolder } from "../temp-folder.ts";

const COMMIT = "a".repeat(40);
const CONTENT = "x".repeat(104);
const INFO = { _id: "1", id: "org/m", sha: COMMIT, lastModified: "2025-01-01T00:00:00Z" };
const FILE = {
  type: "file",
  path: "m.gguf",
  size: 104,
  oid: "b".repeat(40),
  lfs: { oid: new Bun.CryptoHasher("sha256").update(CONTENT).digest("hex"), size: 104, pointerSize: 130 },
};

/** A registry that answers what it is told. `next`: each page of its listing names another one. */
function registry({ info = INFO, tree = [FILE], next = false }: { info?: unknown; tree?: unknown; next?: boolean }) {
  let bodies = 0;
  const server = Bun.serve({
    port: 0,
    fetch(request): Response {
      const { origin, pathname } = new URL(request.url);
      if (pathname.includes("/revision/")) return Response.json(info);
      if (pathname.includes("/resolve/")) {
        bodies++;
        // As servers do where a range begins at the end: what is there is thrown away, and asked for again.
        if (request.headers.has("range")) return new Response(null, { status: 416 });
        return new Response(CONTENT);
      }
      const link = `<${origin}${pathname}?cursor=${Math.random()}>; rel="next"`;
      return Response.json(tree, next ? { headers: { link } } : {});
    },
  });
  return { endpoint: server.url.origin, bodies: () => bodies, [Symbol.asyncDispose]: () => server.stop(true) };
}

/** What a pull ends in: a sentence of ours, or undefined where it worked. */
async function outcome(endpoint: string, id = "org/m"): Promise<string | undefined> {
  using folder = new TempFolder();
  try {
    await pull(id, { endpoint, cacheDir: folder.file("hub"), backoffMs: 1 });
    return undefined;
  } catch (error) {
    if (!(error instanceof ServeError)) throw error;
    return error.message;
  }
}

test("the registry as it should be", async () => {
  await using hub = registry({});
  expect(await outcome(hub.endpoint)).toBeUndefined();
});

test("a size is an integer: as text, as a fraction, negative or huge it is a sentence, and nothing is downloaded", async () => {
  for (const size of ["104", " 104", 104.5, -1, null, true, [104], {}, "0x68", 1e300, Number.MAX_SAFE_INTEGER + 1]) {
    await using hub = registry({ tree: [{ ...FILE, lfs: { ...FILE.lfs, size } }] });
    const message = await outcome(hub.endpoint);
    // null is as if it were not there: the other size counts.
    if (size === null) expect(message).toBeUndefined();
    else expect(message).toContain("lists no usable size for m.gguf");
    expect(hub.bodies()).toBe(size === null ? 1 : 0);
    await using plain = registry({ tree: [{ ...FILE, lfs: undefined, size }] });
    expect(await outcome(plain.endpoint)).toContain("lists no usable size for m.gguf");
  }
});

test("a file shorter or longer than it is listed is given up, not brought again for ever", async () => {
  for (const size of [103, 105, 1000, 0]) {
    await using hub = registry({ tree: [{ ...FILE, lfs: { ...FILE.lfs, size } }] });
    expect(await outcome(hub.endpoint)).toMatch(/cannot be downloaded|is corrupt/);
    expect(hub.bodies()).toBeLessThan(20);
  }
});

test("entries that are none, listings that are none, a commit that is none", async () => {
  for (const entry of [null, 1, "x", true, [], [FILE]]) {
    await using hub = registry({ tree: [entry, FILE] });
    expect(await outcome(hub.endpoint)).toContain("is not usable");
  }
  for (const tree of [null, 1, "text", { error: "x" }, true]) {
    await using hub = registry({ tree });
    expect(await outcome(hub.endpoint)).toBeString();
  }
  for (const info of [null, 1, [], {}, { ...INFO, sha: null }, { ...INFO, sha: 7 }, { ...INFO, sha: "main" }]) {
    await using hub = registry({ info });
    expect(await outcome(hub.endpoint)).toContain("is not usable");
  }
});

test("names too long for a file system are refused in words, wherever they come from", async () => {
  for (const path of ["n".repeat(256), "n".repeat(240), `d/${"é".repeat(130)}`, `${"d/".repeat(300)}m`]) {
    await using hub = registry({ tree: [{ ...FILE, path: `${path}.gguf` }] });
    expect(await outcome(hub.endpoint)).toContain("lists the path");
  }
  await using long = registry({ tree: [{ ...FILE, path: `${"n".repeat(220)}.gguf` }] });
  expect(await outcome(long.endpoint)).toBeUndefined();
  expect(parseHubId(`org/m:${"n".repeat(300)}.gguf`)).toBeUndefined();
  expect(() => requireRevision("r".repeat(250))).toThrow("is not a revision");
  // A cache in a place that cannot be.
  await using hub = registry({});
  using folder = new TempFolder();
  for (const cacheDir of [folder.file("c".repeat(300)), folder.file("file/below")]) {
    if (!existsSync(folder.file("file"))) {
      mkdirSync(folder.file("."), { recursive: true });
      writeFileSync(folder.file("file"), "");
    }
    const error: unknown = await pull("org/m", { endpoint: hub.endpoint, cacheDir }).catch((reason) => reason);
    expect(error).toBeInstanceOf(ServeError);
    expect((error as Error).message).toMatch(/^The cache .* cannot take the model: /);
  }
});

test("a listing without end ends", async () => {
  for (const tree of [[], [{ type: "directory", path: "d", size: 0, oid: "c".repeat(40) }]]) {
    await using hub = registry({ tree, next: true });
    expect(await outcome(hub.endpoint)).toContain("pages");
  }
}, 60_000);

test("whatever JSON stands in whatever field: a sentence, or a model", async () => {
  const random = new Random(7);
  const values = [
    null,
    0,
    -1,
    1.5,
    1e308,
    "",
    "104",
    "../../x",
    "\ud800",
    "\u001b[31m",
    [],
    {},
    [null],
    true,
    "n".repeat(9999),
  ];
  const fields = [
    "type",
    "path",
    "size",
    "oid",
    "lfs",
    "lfs.oid",
    "lfs.size",
    "info.sha",
    "info.id",
    "info.lastModified",
  ];
  for (let round = 0; round < 150; round++) {
    const file = structuredClone(FILE) as Record<string, unknown>;
    const info = { ...INFO } as Record<string, unknown>;
    for (let i = 0; i <= random.int(2); i++) {
      const field = fields[random.int(fields.length)]!;
      const value = values[random.int(values.length)];
      const [holder, name] = field.startsWith("info.")
        ? [info, field.slice(5)]
        : field.startsWith("lfs.")
          ? [(file.lfs ?? {}) as Record<string, unknown>, field.slice(4)]
          : [file, field];
      if (typeof holder === "object") Reflect.set(holder as object, name, value);
    }
    await using hub = registry({ info, tree: [file] });
    const message = await outcome(hub.endpoint);
    if (message === undefined) continue;
    expect(message.length).toBeLessThan(1100);
    expect(message).not.toMatch(/TypeError|undefined is not|\n\s+at /);
    expect(message).not.toContain("\u001b");
  }
}, 60_000);
