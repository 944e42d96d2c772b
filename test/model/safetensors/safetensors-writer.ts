import { writeFileSync } from "node:fs";

export interface TensorSpec {
  dtype: string;
  shape: readonly number[];
  numBytes: number;
}

const BYTES: Readonly<Record<string, number>> = { F32: 4, BF16: 2, F16: 2, F8_E4M3: 1, I32: 4 };

export function tensor(dtype: string, ...shape: number[]): TensorSpec {
  return { dtype, shape, numBytes: shape.reduce((product, size) => product * size, BYTES[dtype]!) };
}

/** A header as JSON, its length before it, and zeros as data. */
export function safetensorsBytes(header: unknown, dataBytes: number): Buffer {
  const json = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, Buffer.alloc(dataBytes)]);
}

/** The header entries of tensors laid out one after the other. */
export function layOut(tensors: Readonly<Record<string, TensorSpec>>): { header: object; dataBytes: number } {
  let end = 0;
  const header = Object.fromEntries(
    Object.entries(tensors).map(([name, { dtype, shape, numBytes }]) => {
      const begin = end;
      end += numBytes;
      return [name, { dtype, shape, data_offsets: [begin, end] }];
    }),
  );
  return { header, dataBytes: end };
}

export function writeSafetensors(path: string, tensors: Readonly<Record<string, TensorSpec>>): void {
  const { header, dataBytes } = layOut(tensors);
  writeFileSync(path, safetensorsBytes({ __metadata__: { format: "pt" }, ...header }, dataBytes));
}
