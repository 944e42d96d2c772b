import { createHash, type Hash } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import type { OpenedModel } from "../model/spec.ts";

/** What results depend on beside a request and its model. */
export interface FingerprintParts {
  readonly version: string;
  readonly libraryPath: string;
  /** Formats, instruction set: whatever changes a bit of the results. */
  readonly kernels: Readonly<Record<string, string>>;
}

/** Places of a file that are looked at, and bytes at each: other weights differ everywhere, other code is shifted. */
const SAMPLES = 32;
const SAMPLE_BYTES = 4096;

/**
 * OpenAI's system_fingerprint: other where the build, the checkpoint or the kernels are others, and with them the text that a
 * seed gives. Files are sampled, since hashing gigabytes of weights would take longer than loading them.
 */
export function systemFingerprint({ plan, text }: OpenedModel, parts: FingerprintParts): string {
  const hash = createHash("sha256");
  hash.update(JSON.stringify([parts.version, parts.kernels, plan.spec, text.chatTemplate ?? null], plain));
  sampleFile(hash, parts.libraryPath);
  const every = Math.max(1, Math.floor(plan.tensors.length / SAMPLES));
  for (let i = 0; i < plan.tensors.length; i += every) {
    const { role, layer, dtype, offset, numBytes, file } = plan.tensors[i]!;
    hash.update(`${role} ${layer} ${dtype} ${numBytes}\n`);
    sample(hash, plan.paths[file]!, [offset + Math.floor(numBytes / 2)], Math.min(SAMPLE_BYTES, numBytes / 2));
  }
  return `fp_${hash.digest("hex").slice(0, 10)}`;
}

/** Typed arrays as lists of numbers. */
function plain(_key: string, value: unknown): unknown {
  return ArrayBuffer.isView(value) ? Array.from(value as unknown as ArrayLike<number>) : value;
}

function sampleFile(hash: Hash, path: string): void {
  const fd = openSync(path, "r");
  const { size } = fstatSync(fd);
  closeSync(fd);
  hash.update(`${size}\n`);
  sample(
    hash,
    path,
    Array.from({ length: SAMPLES }, (_, i) => Math.floor((size / SAMPLES) * i)),
    SAMPLE_BYTES,
  );
}

function sample(hash: Hash, path: string, offsets: readonly number[], bytes: number): void {
  const buffer = Buffer.alloc(Math.floor(bytes));
  const fd = openSync(path, "r");
  try {
    for (const offset of offsets) {
      const length = readSync(fd, buffer, 0, buffer.length, offset);
      hash.update(buffer.subarray(0, length));
    }
  } finally {
    closeSync(fd);
  }
}
