import { describe, expect, test } from "bun:test";
import { LIMITS } from "../../src/config/limits.ts";
import { ChatTemplate, ChatTemplateError } from "../../src/text/chat-template.ts";
import { strftime } from "../../src/text/strftime.ts";

const MIB = 1024 * 1024;
const messages = [{ role: "user", content: "hello" }];
/** As in a context of up to 8,192 tokens, unless said otherwise. */
const render = (source: string, chat = messages, maxChars: number = LIMITS.minMaxTemplateChars) =>
  new ChatTemplate(source, {}, maxChars).render(chat, { addGenerationPrompt: true });

/** Runs a body many times in a loop over a few messages' worth of numbers. */
const loop = (body: string, times = 60) => `{% for i in range(${times}) %}${body}{% endfor %}`;
const ns = (first: string) => `{% set ns = namespace(x=${first}) %}`;
/** A string of 512 kB, which is allowed. */
const half = `${ns("'0123456789abcdef'")}${loop("{% set ns.x = ns.x ~ ns.x %}", 15)}`;

const GREEDY: Record<string, string> = {
  "a string that doubles": `${ns("'ab'")}${loop("{% set ns.x = ns.x ~ ns.x %}")}{{ ns.x|upper }}`,
  "by +": `${ns("'ab'")}${loop("{% set ns.x = ns.x + ns.x %}")}{{ ns.x|length }}`,
  "by a block": `${ns("'ab'")}${loop("{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}")}{{ ns.x }}`,
  "by a macro": `{% macro m(s) %}{{ s }}{{ s }}{% endmacro %}${ns("'ab'")}${loop("{% set ns.x = m(ns.x) %}")}`,
  "by replace": `${ns("'aa'")}${loop("{% set ns.x = ns.x|replace('a', 'aa') %}")}{{ ns.x }}`,
  "by the method replace": `${ns("'aa'")}${loop("{% set ns.x = ns.x.replace('a', 'aa') %}")}{{ ns.x }}`,
  "by join": `${ns("'ab'")}${loop("{% set ns.x = [ns.x, ns.x]|join(',') %}")}{{ ns.x }}`,
  "by tojson": `${ns("'\"'")}${loop("{% set ns.x = ns.x|tojson %}")}{{ ns.x }}`,
  "a string that grows for ever": `${half}${loop("{% set ns.x = ns.x ~ 'a' %}", 1000)}`,
  "many large strings in a list": `${half}{% set a = namespace(l=[]) %}${loop("{% set a.l = a.l + [ns.x ~ i] %}", 500)}`,
  "output without end": `${half}${loop("{{ ns.x }}", 500)}`,
  "a list that doubles": `${ns("[1]")}${loop("{% set ns.x = ns.x + ns.x %}")}`,
  "a list that holds itself twice": `${ns("[1]")}${loop("{% set ns.x = [ns.x, ns.x] %}")}{{ ns.x|tojson }}`,
  "a mapping that holds itself twice": `${ns("{'a': 1}")}${loop("{% set ns.x = {'a': ns.x, 'b': ns.x} %}")}{{ ns.x }}`,
  "a long range": "{% set x = range(1000000000) %}",
  "a long range backwards": "{% set x = range(1000000000, 0, -1) %}",
  "many ranges": `{% set a = namespace(l=[]) %}${loop("{% set a.l = [a.l, range(100000)] %}", 1000)}`,
  "replace of much by much": `${half}{{ ns.x|replace('a', ns.x) }}`,
  "replace of nothing by much": `${half}{{ ns.x|replace('', ns.x) }}`,
  "join with a long separator": `${half}{{ range(10000)|join(ns.x) }}`,
  "a wide indentation": "{{ 'a\nb'|indent(1000000000) }}",
  "a wide indentation by name": "{{ 'a\nb'|indent(width=1000000000) }}",
  "JSON with a wide indentation": "{{ [[[1]]]|tojson(indent=1000000000) }}",
  "letters one by one": `${half}${loop("{% set ns.y = ns.x.split('a') %}", 1000)}`,
};

describe("a template that builds too much is refused, and its memory stays small", () => {
  test.each(Object.entries(GREEDY))("%s", (_name, source) => {
    Bun.gc(true);
    const beforeBytes = process.memoryUsage.rss();
    expect(() => render(source)).toThrow(ChatTemplateError);
    expect(() => render(source)).toThrow(/builds more than \d+ characters/);
    expect((process.memoryUsage.rss() - beforeBytes) / MIB).toBeLessThan(256);
  });
});

describe("what templates do with long chats is far from the bound", () => {
  const chat = Array.from({ length: 4096 }, (_, i) => ({
    role: i % 2 === 0 ? "user" : "assistant",
    content: `${"<think>why</think> so it is, and it will be. ".repeat(3)}`,
  }));
  const characters = chat.reduce((sum, { content }) => sum + content.length, 0);
  // About the context that such a chat needs.
  const maxChars = (characters / 5) * LIMITS.templateCharsPerToken;

  test.each([
    "{% for m in messages %}{{ '<' + m.role + '>' + m.content + '</>' + '\n' }}{% endfor %}",
    "{% for m in messages %}{{ m.content.split('</think>')[-1].lstrip('\n')|trim }}{% endfor %}",
    "{% for m in messages[1:] %}{% if m.role == 'user' or loop.last %}{{ m.content|tojson(indent=2) }}{% endif %}{% endfor %}",
    "{% for m in messages %}{{ m.content|replace('<', '&lt;')|indent(4) }}{% endfor %}",
    "{% set ns = namespace(all=[]) %}{% for m in messages[:400] %}{% set ns.all = ns.all + [m.role] %}{% endfor %}{{ ns.all|join(', ') }}",
    "{{ messages|map(attribute='content')|join('\n') }}{{ messages|selectattr('role', 'equalto', 'user')|list|length }}",
  ])("%s", (source) => {
    expect(render(source, chat, maxChars).length).toBeGreaterThan(1000);
  });
});

test("strftime gives Python's directives, and leaves others as they are", () => {
  const date = new Date(2024, 0, 5, 13, 7, 9);
  expect(strftime(date, "%A %a %d %B %b %m %Y %y %H:%M:%S %I %p 100%% %Q")).toBe(
    "Friday Fri 05 January Jan 01 2024 24 13:07:09 01 PM 100% %Q",
  );
});
