import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { ByteReader } from "../../src/model/byte-reader.ts";
import { FileSource } from "../../src/model/file-source.ts";
import { TempFolder } from "./temp-folder.ts";

test("values across the reader's window, and the limit on a header", () => {
  using folder = new TempFolder();
  // Larger than one window, so that values straddle its edges.
  const bytes = Buffer.alloc(3 * 1024 * 1024 + 5);
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 31) & 0xff;
  const path = folder.file("bytes");
  writeFileSync(path, bytes);
  const source = new FileSource(path);
  const reader = new ByteReader(source, 2 * bytes.length);
  reader.u8();
  for (let at = 1; at + 8 <= bytes.length; at += 8) {
    const value = reader.u64();
    if (value !== bytes.readBigUInt64LE(at)) throw new Error(`differs at ${at}`);
  }
  expect(reader.remaining).toBe((bytes.length - 1) % 8);
  expect(() => reader.u64()).toThrow("ends early");

  const limited = new ByteReader(source, 100);
  for (let i = 0; i < 25; i++) limited.u32();
  limited.field = "key 7";
  expect(() => limited.u8()).toThrow("key 7: the header is longer than 100 bytes");
  source.close();
});
