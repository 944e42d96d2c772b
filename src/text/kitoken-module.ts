import { readFileSync } from "node:fs";
import { initSync, Kitoken } from "kitoken/web";
// kitoken/node reads its file from beside itself, which a compiled binary does not have; so the web build, with the file
// embedded by path (the package does not export it by name).
// @ts-expect-error The package's declarations describe the module's exports; imported as a file it is a path.
import wasmPath from "../../node_modules/kitoken/dist/web_bg.wasm" with { type: "file" };

let memory: WebAssembly.Memory | undefined;

/** An encoder for a definition as written by writeKit. The first call in a thread compiles the module (about 20 ms). */
export function createKitoken(kit: Uint8Array): Kitoken {
  memory ??= initSync({ module: readFileSync(wasmPath) }).memory;
  return new Kitoken(kit);
}

/** Memory of this thread's encoders. WebAssembly memory grows with the longest text and never shrinks. */
export function encoderMemoryBytes(): number {
  return memory?.buffer.byteLength ?? 0;
}
