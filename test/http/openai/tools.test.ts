import { expect, test } from "bun:test";
import { ChatTemplate } from "../../../src/text/chat-template.ts";
import { errorOf, MODEL, TestServer } from "../test-server.ts";

const TOOLS = [{ type: "function", function: { name: "weather", parameters: { type: "object" } } }];
const call = (args: unknown) => ({ id: "call_1", type: "function", function: { name: "weather", arguments: args } });
const history = (toolCall: unknown, rest: object = {}) => [
  { role: "user", content: "And in Paris?" },
  { role: "assistant", content: null, tool_calls: [toolCall], ...rest },
  { role: "tool", tool_call_id: "call_1", name: "weather", content: [{ type: "text", text: "18 °C" }] },
];

test("tools that must not be called are shown by the template", async () => {
  await using server = new TestServer();
  for (const [fields, tools] of [
    [{ tools: TOOLS, tool_choice: "none" }, TOOLS],
    [{ functions: [{ name: "f" }], function_call: "none" }, [{ type: "function", function: { name: "f" } }]],
    [{ tools: [], tool_choice: "auto" }, undefined],
    [{ tools: [], tool_choice: "none", parallel_tool_calls: false }, undefined],
    [{ tools: null, tool_choice: null }, undefined],
  ] as const) {
    const variables = tools === undefined ? {} : { variables: { tools } };
    const messages = [{ role: "user", content: "Hi" }];
    for (const path of ["/v1/chat/completions", "/tokenize"]) {
      expect((await server.post(path, { model: MODEL, messages, ...fields })).status).toBe(200);
      expect(server.text.rendered.at(-1)!.options).toEqual({ addGenerationPrompt: true, ...variables } as never);
    }
  }
});

test("an answer to a call that nobody made is left to the template, since histories are cut at their beginning", async () => {
  await using server = new TestServer();
  const messages = history(call("{}")).slice(2);
  expect((await server.chat({ messages })).status).toBe(200);
  expect(server.text.rendered.at(-1)!.messages).toMatchObject([{ role: "tool", tool_call_id: "call_1" }]);
});

test("tool calls of the past reach the template, their arguments as an object", async () => {
  await using server = new TestServer();
  for (const [given, expected] of [
    ['{"city":"Paris","days":[1,2]}', { city: "Paris", days: [1, 2] }],
    [{ city: "Paris" }, { city: "Paris" }],
    ["", {}],
    [undefined, {}],
    ['{"a":"\\ud800"}', { a: "\ufffd" }],
  ] as const) {
    const rest = { reasoning_content: "Hm." };
    expect((await server.chat({ messages: history(call(given), rest) })).status).toBe(200);
    expect(server.text.rendered.at(-1)!.messages).toEqual([
      { role: "user", content: "And in Paris?" },
      { role: "assistant", content: "", tool_calls: [call(expected) as never], reasoning_content: "Hm." },
      { role: "tool", content: "18 °C", name: "weather", tool_call_id: "call_1" },
    ]);
  }
  await server.chat({ messages: [{ role: "assistant", content: null, refusal: "No." }] });
  expect(server.text.rendered.at(-1)!.messages).toEqual([{ role: "assistant", content: "No." }]);
});

test("variables of the template: documents and reasoning_effort, and chat_template_kwargs over them", async () => {
  await using server = new TestServer();
  const documents = [{ title: "a", text: "b" }];
  await server.chat({ documents, reasoning_effort: "low", chat_template_kwargs: { reasoning_effort: "high" } });
  const variables = { documents, reasoning_effort: "high" };
  expect(server.text.rendered.at(-1)!.options).toEqual({ addGenerationPrompt: true, variables });
});

test("malformed histories name the place", async () => {
  await using server = new TestServer({ limits: { maxJsonDepth: 20 } });
  const at = "messages[1].tool_calls[0]";
  const { id: _id, ...withoutId } = call("{}");
  for (const [toolCall, param, code] of [
    [5, at, "invalid_type"],
    [withoutId, `${at}.id`, "missing_required_parameter"],
    [{ id: "x" }, `${at}.function`, "missing_required_parameter"],
    [{ id: "x", function: {} }, `${at}.function.name`, "missing_required_parameter"],
    [{ id: "x", function: { name: 5 } }, `${at}.function.name`, "invalid_type"],
    [{ id: "x", type: "custom", custom: {} }, `${at}.type`, "unsupported_parameter"],
    [call("{"), `${at}.function.arguments`, "invalid_value"],
    [call("[1]"), `${at}.function.arguments`, "invalid_type"],
    [call(7), `${at}.function.arguments`, "invalid_type"],
  ] as const) {
    expect(await errorOf(await server.chat({ messages: history(toolCall) }), 400)).toMatchObject({ param, code });
  }
  const deep = call(`{"a":${"[".repeat(30)}${"]".repeat(30)}}`);
  expect((await errorOf(await server.chat({ messages: history(deep) }), 400)).code).toBe("invalid_json");
  for (const [message, param] of [
    [{ role: "tool", content: "x" }, "messages[0].tool_call_id"],
    [{ role: "tool", tool_call_id: "x" }, "messages[0].content"],
    [{ role: "assistant", tool_calls: {} }, "messages[0].tool_calls"],
  ] as const) {
    expect((await errorOf(await server.chat({ messages: [message] }), 400)).param).toBe(param);
  }
});

test("a template in the manner of Hermes writes tools and calls as transformers does", () => {
  const template = new ChatTemplate(
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% if m.tool_calls %}{% for c in m.tool_calls %}" +
      "{% set c = c.function %}{{ c.name }}:{{ c.arguments | tojson }}{% endfor %}{% endif %}" +
      "{% if m.role == 'tool' %}{{ m.name }}#{{ m.tool_call_id }}{% endif %}{% endfor %}" +
      "{% if tools is not none %}{{ tools | tojson }}{% endif %}",
    {},
  );
  const messages = [
    { role: "assistant", content: "", tool_calls: [call({ city: "Zürich", days: [1, null, true] }) as never] },
    { role: "tool", content: "ok", name: "weather", tool_call_id: "call_1" },
  ];
  expect(template.render(messages, { addGenerationPrompt: true })).toBe(
    '<assistant>weather:{"city": "Zürich", "days": [1, null, true]}<tool>okweather#call_1',
  );
  const tools = [{ type: "function", function: { name: "f" } }];
  expect(template.render([], { addGenerationPrompt: true, variables: { tools } })).toBe(
    '[{"type": "function", "function": {"name": "f"}}]',
  );
});
