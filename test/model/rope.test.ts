import { expect, test } from "bun:test";
import { ropeAttentionFactor, ropeInvFreq, yarnAttentionFactor } from "../../src/model/rope.ts";

const relative = (a: number, b: number) => Math.abs(a - b) / Math.abs(b);

test("plain frequencies are theta to the power of -2i/d, to the last bits of float32", () => {
  const frequencies = ropeInvFreq(128, { theta: 500_000, scaling: { kind: "default" } });
  expect(frequencies).toHaveLength(64);
  expect(frequencies[0]).toBe(1);
  frequencies.forEach((value, i) => {
    expect(relative(value, 500_000 ** ((-2 * i) / 128))).toBeLessThan(5e-7);
  });
});

test("llama3 keeps short waves, divides long ones, and joins the two without a step", () => {
  const scaling = {
    kind: "llama3",
    factor: 8,
    lowFreqFactor: 1,
    highFreqFactor: 4,
    originalMaxPositions: 8192,
  } as const;
  const plain = ropeInvFreq(128, { theta: 500_000, scaling: { kind: "default" } });
  const scaled = ropeInvFreq(128, { theta: 500_000, scaling });
  scaled.forEach((value, i) => {
    const wavelength = (2 * Math.PI) / plain[i]!;
    const ratio = plain[i]! / value;
    if (wavelength < 2048) expect(ratio).toBe(1);
    else if (wavelength > 8192) expect(relative(ratio, 8)).toBeLessThan(1e-6);
    else {
      const smooth = (8192 / wavelength - 1) / 3;
      expect(relative(value, plain[i]! * ((1 - smooth) / 8 + smooth))).toBeLessThan(1e-6);
    }
  });
});

test("yarn ramps between kept and divided frequencies", () => {
  const scaling = {
    kind: "yarn",
    factor: 4,
    originalMaxPositions: 32_768,
    betaFast: 32,
    betaSlow: 1,
    truncate: true,
    attentionFactor: yarnAttentionFactor(4),
  } as const;
  const plain = ropeInvFreq(128, { theta: 1_000_000, scaling: { kind: "default" } });
  const scaled = ropeInvFreq(128, { theta: 1_000_000, scaling });
  const dimension = (turns: number) => (128 * Math.log(32_768 / (turns * 2 * Math.PI))) / (2 * Math.log(1_000_000));
  const low = Math.floor(dimension(32));
  const high = Math.ceil(dimension(1));
  expect([low, high]).toEqual([23, 40]);
  scaled.forEach((value, i) => {
    const ramp = Math.min(1, Math.max(0, (i - low) / (high - low)));
    expect(relative(value, plain[i]! * (ramp / 4 + 1 - ramp))).toBeLessThan(1e-6);
  });
  const exact = ropeInvFreq(128, { theta: 1_000_000, scaling: { ...scaling, truncate: false } });
  expect(exact[30]).not.toBe(scaled[30]!);
  expect(ropeAttentionFactor(scaling)).toBeCloseTo(1.1386294, 6);
  expect(ropeAttentionFactor({ kind: "linear", factor: 2 })).toBe(1);
});

test("yarn's attention factor with mscale, as DeepSeek's checkpoints set it", () => {
  expect(yarnAttentionFactor(40, 1, 1)).toBe(1);
  expect(yarnAttentionFactor(40, 0.8, 1)).toBeCloseTo((0.08 * Math.log(40) + 1) / (0.1 * Math.log(40) + 1), 12);
  expect(yarnAttentionFactor(40, 0.8, 0)).toBeCloseTo(0.1 * Math.log(40) + 1, 12);
  expect(yarnAttentionFactor(0.5)).toBe(1);
});
