import { expect, test } from "bun:test";
import { exactInteger } from "../../src/http/exact-integer.ts";

const of = (json: string) => exactInteger(json, "seed", (JSON.parse(json) as { seed: number }).seed);

test("digits that a double cannot hold are found where they are written", () => {
  expect(of('{"seed":9007199254740993}')).toBe(9007199254740993n);
  expect(of('{"a":1, "seed" :\n -9223372036854775808, "b":"seed"}')).toBe(-(2n ** 63n));
  expect(of('{"seed":18446744073709551615}')).toBe(2n ** 64n - 1n);
  // The last of two counts, as everywhere; what a text says is no key.
  expect(of('{"seed":1,"x":"\\"seed\\": 9007199254740995","seed":9007199254740993}')).toBe(9007199254740993n);
  expect(of('{"x":{"seed":5},"seed":9007199254740993}')).toBe(9007199254740993n);
});

test("where the digits are not certain, the double's own integer", () => {
  expect(of('{"seed":1e18}')).toBe(10n ** 18n);
  expect(of('{"seed":1234567890123456789012e-3}')).toBe(BigInt(Number("1234567890123456789012e-3")));
  expect(of('{"\\u0073eed":9007199254740993}')).toBe(9007199254740992n);
  expect(of('{"x":{"seed":9007199254740991.5},"seed":9007199254740993}')).toBe(9007199254740993n);
  expect(of('{"x":{"seed":9007199254740992},"seed":9007199254740993}')).toBe(9007199254740992n);
});
