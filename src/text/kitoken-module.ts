import { readFileSync } from "node:fs";
import { initSync, Kitoken } from "kitoken/web";
// kitoken/node reads its file from beside itself, which a compiled binary does not have; so the web build, with the file
// embedded by path (the package does not export it by name).
// @ts-expect-error The package's declarations describe the module's exports; imported as a file it is a path.
import wasmPath from "../../node_modules/kitoken/dist/web_bg.wasm" with { type: "file" };

let ready = false;

/** An encoder for a definition as written by writeKit. The first call in a thread compiles the module (about 20 ms). */
export function createKitoken(kit: Uint8Array): Kitoken {
  if (!ready) {
    initSync({ module: readFileSync(wasmPath) });
    ready = true;
  }
  return new Kitoken(kit);
}
