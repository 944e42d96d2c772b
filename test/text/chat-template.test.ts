import { describe, expect, test } from "bun:test";
import type { ChatMessage } from "../../src/text/chat.ts";
import { ChatTemplate, ChatTemplateError } from "../../src/text/chat-template.ts";
import { defineTokenizer } from "../../src/text/define-tokenizer.ts";
import { bundledSource, readJson } from "./sources.ts";

interface Case {
  template: string;
  messages: ChatMessage[];
  variables: Record<string, unknown>;
  add_generation_prompt: boolean;
  rendered?: string;
  error?: string;
}
const cases = readJson<Case[]>("test/fixtures/text/chats.json");
const tokens = { bos_token: "<s>", eos_token: "</s>" };

test("the bundled model's template renders the reference chats", () => {
  const source = bundledSource();
  const template = new ChatTemplate(source.chatTemplate!, defineTokenizer(source).templateTokens);
  const { chats } = readJson<{ chats: Array<{ messages: ChatMessage[]; rendered: string }> }>(
    "test/fixtures/reference/reference.json",
  );
  for (const chat of chats) expect(template.render(chat.messages, { addGenerationPrompt: true })).toBe(chat.rendered);
});

describe("as transformers renders", () => {
  test.each(cases.map((item, i) => [i, item] as const))("case %i", (_, item) => {
    const template = new ChatTemplate(item.template, tokens);
    const options = { addGenerationPrompt: item.add_generation_prompt, variables: item.variables };
    if (item.error === undefined) {
      expect(template.render(item.messages, options)).toBe(item.rendered!);
    } else {
      expect(() => template.render(item.messages, options)).toThrow(ChatTemplateError);
      expect(() => template.render(item.messages, options)).toThrow(item.error);
    }
  });
});

describe("what a template can use", () => {
  const messages = [{ role: "user", content: "hi" }];
  const render = (source: string, variables?: Record<string, unknown>) =>
    new ChatTemplate(source, tokens).render(messages, {
      addGenerationPrompt: true,
      ...(variables === undefined ? {} : { variables }),
    });

  test("strftime_now", () => {
    expect(render("{{ strftime_now('%d %b %Y') }}")).toMatch(/^\d\d [A-Z][a-z]{2} \d{4}$/);
  });

  test("tools and documents are none unless given", () => {
    expect(render("{{ tools is none }} {{ documents is none }}")).toBe("true true");
    expect(render("{{ tools[0] }}", { tools: ["x"] })).toBe("x");
  });

  test("variables cannot take the place of the messages", () => {
    expect(render("{{ messages[0].content }}", { messages: [] })).toBe("hi");
  });

  test("a template that cannot be read says so", () => {
    expect(() => render("{% for x in %}")).toThrow(ChatTemplateError);
  });
});
