import { expect, test } from "bun:test";
import { splitChatFlags } from "../../src/cli/chat-session.ts";

test("chat flags are taken out, in both spellings, and the rest is left as it came", () => {
  const { flags, rest } = splitChatFlags(["--threads", "1", "--max-tokens", "5", "--system=a=b", "hi", "--seed=-3"]);
  expect(rest).toEqual(["--threads", "1", "hi"]);
  expect(flags.system).toBe("a=b");
  expect(flags.options).toEqual({ max_tokens: 5, seed: -3 });
});

test("what follows -- is no flag", () => {
  const { flags, rest } = splitChatFlags(["--temperature", "0", "--", "--seed", "1"]);
  expect(rest).toEqual(["--", "--seed", "1"]);
  expect(flags.options).toEqual({ temperature: 0 });
});

test("a wrong value is an error that names its flag, not a request without it", () => {
  expect(() => splitChatFlags(["--max-tokens", "abc"])).toThrow("--max-tokens: expected an integer");
  expect(() => splitChatFlags(["--max-tokens", "0"])).toThrow("--max-tokens: expected an integer");
  expect(() => splitChatFlags(["--temperature=9"])).toThrow("--temperature: expected a number between 0 and 2");
  expect(() => splitChatFlags(["--seed", "1.5"])).toThrow("--seed: expected an integer");
  expect(() => splitChatFlags(["--system"])).toThrow("--system needs a value");
});
