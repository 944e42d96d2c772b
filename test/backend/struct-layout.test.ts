import { expect, test } from "bun:test";
import { readField, readText, structLayout, writeStruct } from "../../src/backend/struct-layout.ts";

test("fields are aligned to their size, the struct to its largest", () => {
  const layout = structLayout([
    ["a", "i32"],
    ["b", "i64"],
    ["c", "char", 3],
    ["d", "f32"],
  ]);
  expect(Object.values(layout.fields).map(({ offset, size }) => [offset, size])).toEqual([
    [0, 4],
    [8, 8],
    [16, 3],
    [20, 4],
  ]);
  expect(layout.size).toBe(24);
});

test("values survive, negatives as two's complement; what is left out is zero", () => {
  const layout = structLayout([
    ["i32", "i32"],
    ["u32", "u32"],
    ["i64", "i64"],
    ["u64", "u64"],
    ["f32", "f32"],
    ["f64", "f64"],
    ["ptr", "ptr"],
    ["none", "i64"],
  ]);
  const view = new DataView(new ArrayBuffer(layout.size + 8));
  for (let i = 0; i < view.byteLength; i++) view.setUint8(i, 0xff);
  const values = {
    i32: -2,
    u32: 4_000_000_000,
    i64: -(2 ** 40),
    u64: -1n,
    f32: 0.5,
    f64: Math.PI,
    ptr: 0x7f12_3456_7890,
  };
  writeStruct(layout, view, 8, values);
  const at8 = new DataView(view.buffer, 8);
  const read = (name: keyof typeof layout.fields) => readField(layout.fields[name], at8);
  expect(read("i32")).toBe(-2);
  expect(read("u32")).toBe(4_000_000_000);
  expect(read("i64")).toBe(-(2 ** 40));
  expect(view.getBigUint64(8 + layout.fields.u64.offset, true)).toBe(2n ** 64n - 1n);
  expect(read("f32")).toBe(0.5);
  expect(read("f64")).toBe(Math.PI);
  expect(read("ptr")).toBe(0x7f12_3456_7890);
  expect(read("none")).toBe(0);
});

test("arrays and text", () => {
  const layout = structLayout([
    ["counts", "u64", 3],
    ["name", "char", 8],
  ]);
  const view = new DataView(new ArrayBuffer(layout.size));
  view.setBigUint64(16, 99n, true);
  expect(readField(layout.fields.counts, view, 2)).toBe(99);
  new Uint8Array(view.buffer, 24).set(Buffer.from("é\0xyz"));
  expect(readText(layout.fields.name, view)).toBe("é");
  new Uint8Array(view.buffer, 24).set(Buffer.from("12345678"));
  expect(readText(layout.fields.name, view)).toBe("12345678");
});
