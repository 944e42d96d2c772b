import { expect, test } from "bun:test";
import { ServeError } from "../../src/core/errors.ts";
import { MAX_REFLECTED_CHARS, reflected } from "../../src/core/reflected.ts";

test("a text comes back as it was, or cut with a mark; always well-formed", () => {
  expect(reflected("name")).toBe("name");
  expect(reflected("x".repeat(MAX_REFLECTED_CHARS))).toBe("x".repeat(MAX_REFLECTED_CHARS));
  expect(reflected("x".repeat(MAX_REFLECTED_CHARS + 1))).toBe(`${"x".repeat(MAX_REFLECTED_CHARS)}…`);
  expect(reflected("a\ud800b\udc00")).toBe("a\ufffdb\ufffd");
  // A cut through a pair.
  expect(reflected("\u{1f600}".repeat(9), 3)).toBe("\u{1f600}\ufffd…");
});

test("an error's message and param are bounded and well-formed wherever it is made", () => {
  const error = new ServeError("not_found", `No ${"\ud800".repeat(500_000)}`, {
    param: `logit_bias.${"9".repeat(1e5)}`,
  });
  expect(error.message.length).toBeLessThan(1100);
  expect(error.message.isWellFormed()).toBe(true);
  expect(error.param!.length).toBeLessThanOrEqual(MAX_REFLECTED_CHARS + 1);
});
