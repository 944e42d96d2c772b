import { expect, test } from "bun:test";
import { ModelError } from "../../src/model/model-error.ts";

test("messages name file and field, bounded and safe to print", () => {
  const error = new ModelError("/m/a.gguf", "key", "is missing");
  expect(error).toMatchObject({ code: "invalid_argument", file: "/m/a.gguf", field: "key", reason: "bad_model" });
  expect(error.message).toBe("/m/a.gguf: key: is missing");
  expect(new ModelError("/m/a.gguf", undefined, "does not exist").message).toBe("/m/a.gguf: does not exist");
  const hostile = new ModelError("a.gguf", `\u001b[2J\u202e${"x".repeat(100_000)}`, "y".repeat(100_000)).message;
  expect(hostile.length).toBeLessThan(1100);
  for (const character of ["\u001b", "\u202e"]) expect(hostile).not.toContain(character);
});
