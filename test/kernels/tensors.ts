/** Reads a small .safetensors file of references whole: name to typed array. float16 becomes float32. */
import { readFileSync } from "node:fs";

export type Tensors = ReadonlyMap<string, Float32Array | Int32Array>;

export function readTensors(path: string): Tensors {
  const bytes = readFileSync(path);
  const headerBytes = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + headerBytes)) as Record<
    string,
    { dtype: string; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, Float32Array | Int32Array>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const [begin, end] = entry.data_offsets;
    const data = new Uint8Array(bytes.subarray(8 + headerBytes + begin, 8 + headerBytes + end)).buffer;
    if (entry.dtype === "I32") tensors.set(name, new Int32Array(data));
    else if (entry.dtype === "F32") tensors.set(name, new Float32Array(data));
    else if (entry.dtype === "F16") tensors.set(name, Float32Array.from(new Float16Array(data)));
    else throw new Error(`${name}: ${entry.dtype}`);
  }
  return tensors;
}

export function floats(tensors: Tensors, name: string): Float32Array {
  const tensor = tensors.get(name);
  if (!(tensor instanceof Float32Array)) throw new Error(`${name} is not a tensor of floats`);
  return tensor;
}

export function ids(tensors: Tensors, name: string): Int32Array {
  const tensor = tensors.get(name);
  if (!(tensor instanceof Int32Array)) throw new Error(`${name} is not a tensor of ids`);
  return tensor;
}
