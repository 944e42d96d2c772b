import { expect, test } from "bun:test";
import { runChatCommand } from "../../src/cli/chat-commands.ts";
import { Conversation } from "../../src/cli/conversation.ts";

function open(): Conversation {
  const endpoint = { url: "http://127.0.0.1:1", apiKey: undefined, model: "m", label: "m", maxModelLen: undefined };
  return new Conversation(endpoint, "old", { seed: 1 });
}

function said(conversation: Conversation, line: string): string {
  const outcome = runChatCommand(line, conversation);
  if (outcome.kind !== "said") throw new Error(`${line}: ${outcome.kind}`);
  return outcome.text;
}

test("/set takes every spelling of an option", () => {
  const conversation = open();
  for (const line of ["/set temperature 0.5", "/set top_p=0.9", "/set Max-Tokens 7", "/SET repetition-penalty = 1.1"])
    said(conversation, line);
  expect(conversation.options).toEqual({
    seed: 1,
    temperature: 0.5,
    top_p: 0.9,
    max_tokens: 7,
    repetition_penalty: 1.1,
  });
  expect(said(conversation, "/set")).toContain("top-p 0.9\n");
  said(conversation, "/set seed");
  expect(conversation.options.seed).toBeUndefined();
});

test("/set says what is wrong and changes nothing", () => {
  const conversation = open();
  expect(said(conversation, "/set temprature 1")).toContain("Did you mean temperature?");
  expect(said(conversation, "/set temperature hot")).toContain("expected a number between 0 and 2, got 'hot'");
  expect(said(conversation, "/set max_tokens 0")).toContain("expected an integer between 1 and");
  expect(said(conversation, "/set colour red")).toContain("there are max-tokens, temperature");
  expect(conversation.options).toEqual({ seed: 1 });
});

test("/system takes text of several lines, or none", () => {
  const conversation = open();
  said(conversation, "/system Answer\nbriefly.");
  expect(conversation.system).toBe("Answer\nbriefly.");
  said(conversation, "/system");
  expect(conversation.system).toBeUndefined();
});

test("leaving, help and mistyped commands", () => {
  const conversation = open();
  for (const line of ["/exit", "/quit", "/bye"]) expect(runChatCommand(line, conversation).kind).toBe("exit");
  for (const line of ["/help", "/?"]) expect(said(conversation, line)).toContain("/set NAME VALUE");
  expect(said(conversation, "/hlep")).toContain("Did you mean /help?");
  expect(said(conversation, "/constructor")).toContain("There is no command /constructor");
});

test("what only begins with a slash is a message", () => {
  for (const line of ["/etc/hosts: what is it?", "// a comment", "/", "hi /help", "/1 + 2"])
    expect(runChatCommand(line, open()).kind).toBe("message");
});
