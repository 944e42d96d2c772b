import { basename, dirname, join } from "node:path";
import type { FileRange } from "../embedded-file.ts";
import { FileSource } from "../file-source.ts";
import { MODEL_BOUNDS } from "../model-bounds.ts";
import { ModelError } from "../model-error.ts";
import type { StoredTensor, StoredTensors } from "../stored-tensor.ts";
import type { Metadata } from "./metadata.ts";
import { type GgufHeader, readGguf } from "./read-gguf.ts";

/** NAME-00001-of-00003.gguf, as llama.cpp's splitter writes. */
const PART_NAME = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/;

export interface GgufParts extends StoredTensors {
  /** Of the first part, which has all of it. */
  readonly metadata: Metadata;
  readonly fileBytes: number;
  /** The bytes of a small tensor. */
  read(tensor: StoredTensor): Buffer;
  close(): void;
}

/** Opens a GGUF file, or all parts of a split one given any of its parts. Close the result. Throws ModelError. */
export function openGgufParts(place: string | FileRange): GgufParts {
  const sources: FileSource[] = [];
  const close = () => sources.forEach((source) => void source.close());
  try {
    const headers: GgufHeader[] = [];
    const add = (part: string | FileRange) => {
      const source = new FileSource(part);
      sources.push(source);
      headers.push(readGguf(source, sources.length - 1));
    };
    const names = typeof place === "string" ? partPaths(place) : undefined;
    add(names?.[0] ?? place);
    const metadata = headers[0]!.metadata;
    const numParts = metadata.int("split.count", 0, MODEL_BOUNDS.maxShards) ?? 1;
    if (numParts > 1) {
      if (names?.length !== numParts) {
        throw metadata.error("split.count", `is ${numParts}, but the file is not named as a part of that many`);
      }
      for (const path of names.slice(1)) add(path);
      checkParts(headers, numParts);
    }
    const byName = new Map<string, StoredTensor>();
    for (const tensor of headers.flatMap((header) => header.tensors)) {
      if (byName.has(tensor.name)) throw new ModelError(sources[tensor.file]!.path, tensor.name, "is in two parts");
      byName.set(tensor.name, tensor);
    }
    return {
      metadata,
      paths: sources.map((source) => source.path),
      byName,
      fileBytes: sources.reduce((sum, source) => sum + source.length, 0),
      read: (tensor) => {
        const source = sources[tensor.file]!;
        return source.read(tensor.offset - source.baseOffset, tensor.numBytes, tensor.name);
      },
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

function partPaths(path: string): string[] | undefined {
  const match = PART_NAME.exec(basename(path));
  if (match === null) return undefined;
  const [, stem, , total] = match;
  const count = Number(total);
  if (count < 1 || count > MODEL_BOUNDS.maxShards) {
    throw new ModelError(path, undefined, `claims ${count} parts; 1 to ${MODEL_BOUNDS.maxShards} are allowed`);
  }
  return Array.from({ length: count }, (_, i) =>
    join(dirname(path), `${stem}-${String(i + 1).padStart(5, "0")}-of-${total}.gguf`),
  );
}

function checkParts(headers: readonly GgufHeader[], numParts: number): void {
  headers.forEach(({ metadata }, i) => {
    if (metadata.requiredInt("split.no", 0, numParts - 1) !== i) {
      throw metadata.error("split.no", `is not ${i}: this is another part than its name says`);
    }
  });
  const first = headers[0]!.metadata;
  const expected = first.int("split.tensors.count", 0, MODEL_BOUNDS.maxTensors);
  const found = headers.reduce((sum, header) => sum + header.tensors.length, 0);
  if (expected !== undefined && expected !== found) {
    throw first.error("split.tensors.count", `is ${expected}, but the parts hold ${found} tensors`);
  }
}
