import { readFileSync } from "node:fs";

type Tensor = Float32Array | Int32Array;

/** Reads a safetensors file of float32, float16 and int32 tensors into memory, for references. */
export function readTensors(path: string): ReadonlyMap<string, Tensor> {
  const bytes = readFileSync(path);
  const dataStart = 8 + Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.toString("utf8", 8, dataStart)) as Record<
    string,
    { dtype: string; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, Tensor>();
  for (const [name, { dtype, data_offsets }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    // A copy, so that the typed arrays are aligned.
    const data = new Uint8Array(bytes.subarray(dataStart + data_offsets[0], dataStart + data_offsets[1])).buffer;
    if (dtype === "F32") tensors.set(name, new Float32Array(data));
    else if (dtype === "I32") tensors.set(name, new Int32Array(data));
    else if (dtype === "F16") tensors.set(name, Float32Array.from(new Float16Array(data)));
    else throw new Error(`${path}: ${name} has the type ${dtype}`);
  }
  return tensors;
}
