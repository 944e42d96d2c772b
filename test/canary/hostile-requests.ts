import { gzipSync } from "node:zlib";
import { CANARY_MODEL } from "./canary-server.ts";

export interface HostileRequest {
  readonly path: string;
  readonly body: string | Uint8Array<ArrayBuffer>;
  readonly headers: Record<string, string>;
  /** The client goes away after this many ms. */
  readonly abortAfterMs: number | undefined;
}

export type Random = (below: number) => number;

/** Numbers that depend on the seed alone. */
export function seeded(seed: number): Random {
  let state = seed;
  return (below) => {
    state = (state * 48271) % 2147483647;
    return state % below;
  };
}

const RPC = "/scalellm.v1.InferenceService";
const nested = (depth: number, open: string, close: string) => `${open.repeat(depth)}1${close.repeat(depth)}`;

/** Values of a field, as JSON text: right, odd, wrong, deep, long. */
const VALUES: ReadonlyArray<(random: Random) => string> = [
  () => '"hi"',
  () => '""',
  () => '"\\ud800 \\u0000 \\uffff <|im_end|>"',
  () => JSON.stringify("word ".repeat(30_000)),
  () => JSON.stringify("a".repeat(60_000)),
  () => JSON.stringify(" ".repeat(60_000)),
  () => "null",
  () => "true",
  () => "-1",
  () => "1e-46",
  () => "1e999",
  () => "9007199254740993",
  () => "0.5",
  (random) => String(random(40)),
  () => "[]",
  () => "{}",
  () => '["a","b"]',
  () => "[1,2,3]",
  () => "[49151,999999]",
  () => '{"5":1,"x":2}',
  () => nested(40_000, "[", "]"),
  () => nested(40_000, '{"a":', "}"),
  () => nested(200, "[", "]"),
  () => nested(250, '{"a":', "}"),
  () => `[${"[],".repeat(50_000)}[]]`,
  () => `{${Array.from({ length: 40_000 }, (_, i) => `"k${i}":${i}`)}}`,
  () => '{"raise":"stop here"}',
  () => '{"grow":1}',
  () => '{"spin":1}',
  () => '{"wrong":1}',
  () => '{"messages":1,"range":2,"true":false,"__proto__":3}',
  () => '{"include_usage":true}',
  () => '"none"',
  () => '[{"type":"function","function":{"name":"f","parameters":{"a":[1]}}}]',
  () => '[{"role":"assistant","tool_calls":[{"id":"1","function":{"name":"f","arguments":"{\\"a\\":[[1]]}"}}]}]',
  () => `[{"role":"tool","tool_call_id":"1","content":${JSON.stringify("x ".repeat(20_000))}}]`,
  () => `[${'{"role":"user","content":"a"},'.repeat(3000)}{"role":"user","content":"a"}]`,
];

const FIELDS =
  "chat_template_kwargs ignored prompt messages max_tokens min_tokens temperature top_p top_k seed n stop logit_bias logprobs top_logprobs prompt_logprobs echo stream stream_options stop_token_ids priority add_special_tokens tokens model tools tool_choice documents reasoning_effort min_p repetition_penalty max_completion_tokens return_token_ids".split(
    " ",
  );
const RPC_FIELDS =
  "chat.templateVariables chat.messages ignored text tokenIds n sampling priority chat resume model".split(" ");

export function hostileRequest(random: Random): HostileRequest {
  const pick = <T>(items: readonly T[]): T => items[random(items.length)]!;
  const isRpc = random(3) === 0;
  const path = isRpc
    ? `${RPC}/${pick(["Complete", "Generate", "Tokenize", "Detokenize", "Nothing"])}`
    : pick(["/v1/chat/completions", "/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize"]);
  const fields = new Map<string, string>([["model", JSON.stringify(CANARY_MODEL)]]);
  if (isRpc) fields.set(pick(["text", "text", "tokenIds"]), pick(['"Hello"', '{"ids":[1,2]}']));
  else if (path.includes("chat")) fields.set("messages", '[{"role":"user","content":"Hello"}]');
  else fields.set(path === "/detokenize" ? "tokens" : "prompt", path === "/detokenize" ? "[1,2,3]" : '"Hello"');
  for (let i = random(3); i >= 0; i--) {
    const field = pick(isRpc ? RPC_FIELDS : FIELDS);
    const value = pick(VALUES)(random);
    const [outer, inner] = field.split(".");
    if (inner === undefined) {
      fields.set(field, value);
      continue;
    }
    // A prompt is only one of these.
    fields.delete("text");
    fields.delete("tokenIds");
    const member = `"${inner}":${value}`;
    fields.set(outer!, inner === "messages" ? `{${member}}` : `{"messages":[{"role":"user","content":"a"}],${member}}`);
  }
  if (!isRpc && random(3) === 0) fields.set("stream", "true");
  let text = `{${[...fields].map(([name, value]) => `"${name}":${value}`).join(",")}}`;
  if (random(12) === 0) text = text.slice(0, random(text.length));
  const headers: Record<string, string> = {
    "content-type": pick(isRpc ? ["application/json", "application/json", "application/proto"] : ["application/json"]),
  };
  let body: string | Uint8Array<ArrayBuffer> = text;
  if (isRpc && path.endsWith("Generate")) {
    headers["content-type"] = pick([
      "application/connect+json",
      "application/grpc-web+json",
      "application/connect+proto",
    ]);
    const bytes = Buffer.from(text);
    const frame = Buffer.alloc(5 + bytes.length);
    frame.writeUInt32BE(random(10) === 0 ? 0xffffffff : bytes.length, 1);
    bytes.copy(frame, 5);
    body = frame;
  } else {
    const form = random(15);
    if (form === 0) headers["content-encoding"] = "gzip";
    if (form === 0 && random(2) === 0) body = gzipSync(text);
    if (form === 1) body = Uint8Array.from({ length: 200 }, () => random(256));
  }
  return { path, body, headers, abortAfterMs: random(6) === 0 ? random(30) : undefined };
}
