import { describe, expect, test } from "bun:test";
import { blockValues, random, randomWeights, weightValues } from "./gguf-blocks";
import { Dtype, dequantize } from "./library";

const seed = Number(process.hrtime.bigint() & 0xffffffffn);

describe(`dequantize (seed ${seed})`, () => {
  for (const [name, dtype] of Object.entries(Dtype)) {
    test(`${name} agrees with the specification`, () => {
      const count = blockValues(dtype) * 37;
      const data = randomWeights(dtype, count, random(seed));
      const expected = weightValues(dtype, data);
      const actual = dequantize(dtype, data, count);
      for (let i = 0; i < count; i++) {
        // Scale times code plus min: at most three roundings to float32 of numbers below 64.
        expect(Math.abs(actual[i]! - expected[i]!)).toBeLessThanOrEqual(
          2 ** -23 * Math.max(Math.abs(expected[i]!), 64 / 8),
        );
      }
    });

    test(`${name} reads unaligned memory`, () => {
      const count = blockValues(dtype) * 3;
      const data = randomWeights(dtype, count, random(seed + 1));
      const shifted = new Uint8Array(data.length + 1);
      shifted.set(data, 1);
      expect(dequantize(dtype, shifted.subarray(1), count)).toEqual(dequantize(dtype, data, count));
    });
  }

  test("every binary16 and e4m3 value converts exactly", () => {
    for (const [dtype, bytes, step] of [
      [Dtype.F16, 2, 65536],
      [Dtype.F8_E4M3, 1, 256],
    ] as const) {
      const data = new Uint8Array(step * bytes);
      for (let i = 0; i < step; i++) {
        data[i * bytes] = i & 255;
        if (bytes === 2) data[i * bytes + 1] = i >> 8;
      }
      expect([...dequantize(dtype, data, step)]).toEqual([...weightValues(dtype, data)]);
    }
  });

  test("a part of a block or an unknown type is an error", () => {
    expect(() => dequantize(Dtype.Q4_1, new Uint8Array(64), 31)).toThrow("whole blocks");
    expect(() => dequantize(99, new Uint8Array(64), 32)).toThrow("whole blocks");
  });
});
