import { expect, test } from "bun:test";
import { abortMany } from "./aborts.ts";

test("20,000 aborts leave nothing behind", () => {
  expect(abortMany(20_000, 5)).toBeGreaterThan(500);
}, 60_000);
