import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { ModelError } from "../../../src/model/model-error.ts";
import { openModel } from "../../../src/model/open-model.ts";
import { Random } from "../random.ts";
import { TempFolder } from "../temp-folder.ts";
import { writeGguf } from "./gguf-writer.ts";
import { tinyGguf } from "./tiny-gguf.ts";

/** Values that break readers: signs, overflows, sizes just past an end. */
const NASTY = [0n, 1n, 0x7fn, 0xffn, 0x7fffffffn, 0x80000000n, 0xffffffffn, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n];

/** Opens as openModel does; anything but success or a ModelError escapes. Returns whether the file was refused. */
function isRefused(path: string): boolean {
  try {
    const { plan } = openModel(path);
    const size = Bun.file(path).size;
    for (const tensor of plan.tensors) expect(tensor.offset + tensor.numBytes).toBeLessThanOrEqual(size);
    return false;
  } catch (error) {
    if (!(error instanceof ModelError)) throw error;
    expect(error.message).toContain(path);
    return true;
  }
}

for (const seed of [1, 2, 3]) {
  test(`damaged headers are refused or harmless, seed ${seed}`, () => {
    using folder = new TempFolder();
    const random = new Random(seed);
    const experts = seed === 3 ? { count: 4, used: 2, inner: 32, stacked: true } : undefined;
    const { bytes, headerBytes } = writeGguf(tinyGguf({ architecture: "llama", ...(experts && { experts }) }));
    const path = folder.file("damaged.gguf");
    let refused = 0;
    const rounds = 400;
    for (let round = 0; round < rounds; round++) {
      const damaged = Buffer.from(bytes);
      for (let hits = 1 + random.int(3); hits > 0; hits--) {
        const at = random.int(headerBytes - 8);
        if (random.next() < 0.5) damaged[at] = random.int(256);
        else damaged.writeBigUInt64LE(random.pick(NASTY), at);
      }
      const length = random.next() < 0.2 ? random.int(bytes.length) : bytes.length;
      writeFileSync(path, damaged.subarray(0, length));
      if (isRefused(path)) refused++;
    }
    expect(refused).toBeGreaterThan(rounds / 4);
  });
}
