import { afterAll, beforeAll, expect, test } from "bun:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import {
  CompleteRequestSchema,
  DetokenizeRequestSchema,
  GenerateRequestSchema,
  TokenizeRequestSchema,
} from "../../src/gen/scalellm/v1/inference_pb.ts";
import { MeasuredServer } from "./measured-server.ts";
import { floodOfResets } from "./reset-flood.ts";

/** No request of any legal size, and no number of them, may keep the main thread from its other work for longer. */
const MOST_MS = 50;
const CONTEXT = 8192;
/** What takes 0.5 s here takes 20 s where 30 processes share two cores, and may be tried three times. */
const HANG_MS = 180_000;
const model = "smollm2-135m-instruct";

let server: MeasuredServer;
beforeAll(async () => {
  server = await MeasuredServer.start();
  // What runs first is interpreted: every path once, small.
  for (let i = 0; i < 3; i++) for (const { run } of cases(40)) await run();
}, 120_000);
afterAll(() => server[Symbol.asyncDispose]());

interface Case {
  name: string;
  /** How many at once. */
  counts: number[];
  run: () => Promise<string>;
  /** HTTP or gRPC status; the last of them is what the refused get. */
  status: string;
}

const chat = { model, messages: [{ role: "user", content: "Count." }], ignore_eos: true };
const STOPS = Array.from({ length: 16 }, (_, i) => "a".repeat(255 - i) + String.fromCharCode(98 + i));

/** The most expensive legal requests of every endpoint and protocol, and refused ones; `size` in tokens. */
function cases(size: number): Case[] {
  const ids = Array.from({ length: size }, (_, i) => 1000 + ((i * 7919) % 40_000));
  const words = "the quick brown fox ".repeat(size / 4);
  const tokenIds = { case: "tokenIds", value: { ids: ids.slice(0, -8) } } as const;
  const scored = { promptLogprobs: 20, maxTokens: 4, logprobs: 20 };
  const complete = (rest: object) => toBinary(CompleteRequestSchema, create(CompleteRequestSchema, { model, ...rest }));
  const generate = (rest: object) => toBinary(GenerateRequestSchema, create(GenerateRequestSchema, { model, ...rest }));
  const detokenize = toBinary(DetokenizeRequestSchema, create(DetokenizeRequestSchema, { model, tokenIds: ids }));
  const millions = new BinaryWriter()
    .tag(1, WireType.LengthDelimited)
    .string(model)
    .tag(2, WireType.LengthDelimited)
    .bytes(new Uint8Array(500 * size).fill(1))
    .finish();
  // Every character is a token.
  const marks = "a!".repeat(12 * size);
  const tokenize = toBinary(
    TokenizeRequestSchema,
    create(TokenizeRequestSchema, { model, input: { case: "text", value: marks } }),
  );
  const resumed = generate({
    prompt: { case: "text", value: "a" },
    sampling: { seed: 1n, stop: STOPS, maxTokens: size - 4 },
    resume: { outputTokenIds: ids.slice(0, -16) },
  });
  const jsonComplete = JSON.stringify({
    model,
    token_ids: { ids: ids.slice(0, -8) },
    sampling: { prompt_logprobs: 20, max_tokens: 1 },
  });
  // Every object with a name of its own: what costs most to parse, to look at and to clone.
  const chat_template_kwargs = {
    a: Array.from({ length: 1.9 * size }, (_, i) => ({ [`name${i}`]: i })),
  };
  const one = { model, prompt: ids.slice(0, -8), max_tokens: 1 };
  const short = (i: number) => ("x".repeat(i) + words).slice(0, 510);
  const rest = (name: string, path: string, body: object, counts = [1], status = "200"): Case => {
    return { name, counts, status, run: () => server.rest(path, body) };
  };
  const rpc = (name: string, run: () => Promise<string>, counts: number[], status: string): Case => {
    return { name, counts, status, run };
  };
  return [
    rest("REST detokenize", "/detokenize", { model, tokens: ids }, [1, 64]),
    rest("REST tokenize", "/tokenize", { model, prompt: words }, [1, 16]),
    rest(
      "REST prompts in a batch",
      "/v1/completions",
      {
        model,
        prompt: Array.from({ length: Math.min(256, size) }, (_, i) => short(i)),
        max_tokens: 1,
        echo: true,
      },
      [1, 4],
    ),
    rest("REST prompt_logprobs", "/v1/completions", { ...one, prompt_logprobs: 20 }, [1, 4]),
    rest("REST echo and logprobs", "/v1/completions", { ...one, echo: true, logprobs: 20 }),
    rest("REST echo and logprobs, streamed", "/v1/completions", { ...one, echo: true, logprobs: 20, stream: true }),
    rest("REST echo and logprobs of 64 choices", "/v1/completions", {
      ...one,
      prompt: ids.slice(0, size / 16),
      n: 64,
      echo: true,
      logprobs: 20,
    }),
    rest("REST logprobs of a long answer", "/v1/chat/completions", {
      ...chat,
      max_tokens: size / 8,
      logprobs: true,
      top_logprobs: 20,
    }),
    rest("REST logprobs of 64 choices, streamed", "/v1/chat/completions", {
      ...chat,
      max_tokens: size / 256,
      n: 64,
      logprobs: true,
      top_logprobs: 20,
      stream: true,
    }),
    rest("REST stop strings of 64 choices", "/v1/chat/completions", { ...chat, n: 64, stop: STOPS, max_tokens: 32 }),
    rest(
      "REST messages of a chat",
      "/v1/chat/completions",
      {
        ...chat,
        messages: Array.from({ length: size / 2 }, (_, i) => ({ role: i % 2 ? "assistant" : "user", content: "a" })),
        max_tokens: 1,
      },
      [1, 8],
      size > 1024 ? "400" : "200",
    ),
    rest(
      "REST variables of a template",
      "/v1/chat/completions",
      { ...chat, max_tokens: 1, chat_template_kwargs },
      [1, 8],
    ),
    rest(
      "REST tool calls",
      "/v1/chat/completions",
      {
        ...chat,
        max_tokens: 1,
        messages: [
          {
            role: "assistant",
            tool_calls: [{ id: "1", function: { name: "f", arguments: JSON.stringify(chat_template_kwargs) } }],
          },
        ],
      },
      [1, 8],
    ),
    rest("REST a large field that is ignored", "/v1/completions", { ...one, metadata: "é".repeat(48 * size) }, [1, 16]),
    rest("REST short chats, streamed", "/v1/chat/completions", { ...chat, max_tokens: 8, stream: true }, [128]),
    rest("REST too many ids", "/v1/completions", { model, prompt: Array(50 * size).fill(1) }, [1, 8], "400"),
    rest(
      "REST too many biases",
      "/v1/completions",
      {
        ...one,
        logit_bias: Object.fromEntries(Array.from({ length: size }, (_, i) => [i, 1])),
      },
      [1, 8],
      size > 1024 ? "400" : "200",
    ),
    rpc("Connect detokenize", () => server.connect("Detokenize", detokenize), [1, 64], "200"),
    rpc("gRPC detokenize", () => server.grpc("Detokenize", detokenize), [1, 64], "0"),
    rpc(
      "Connect prompt_logprobs",
      () => server.connect("Complete", complete({ prompt: tokenIds, sampling: scored })),
      [1, 4],
      "200",
    ),
    rpc("Connect JSON prompt_logprobs", () => server.connect("Complete", jsonComplete), [1, 4], "200"),
    rpc(
      "gRPC prompt_logprobs",
      () => server.grpc("Complete", complete({ prompt: tokenIds, sampling: scored })),
      [1, 4],
      "0",
    ),
    rpc(
      "gRPC prompt_logprobs, streamed",
      () => server.grpc("Generate", generate({ prompt: tokenIds, sampling: scored })),
      [1, 4],
      "0",
    ),
    rpc("gRPC tokenize", () => server.grpc("Tokenize", tokenize), [1, 4], "0"),
    rpc(
      "Connect JSON tokenize",
      () => server.connect("Tokenize", JSON.stringify({ model, text: marks })),
      [1, 4],
      "200",
    ),
    rpc("gRPC output to resume", () => server.grpc("Generate", resumed), [1, 32], "0"),
    rpc(
      "Connect millions of ids in gzip",
      () => server.connect("Detokenize", millions, true),
      [1, 6],
      size > 1024 ? "429" : "400",
    ),
    rpc(
      "gRPC millions of ids in gzip",
      () => server.grpc("Detokenize", millions, true),
      [1, 6],
      size > 1024 ? "8" : "3",
    ),
    rpc("Connect millions of ids", () => server.connect("Detokenize", millions.subarray(0, 2 ** 20)), [1, 6], "400"),
  ];
}

for (const { name, counts, run, status } of cases(CONTEXT)) {
  for (const count of counts) {
    test(
      `${name}, ${count} at once`,
      async () => {
        let least = Number.POSITIVE_INFINITY;
        // What costs too much does so each time; garbage of others, or code that is compiled meanwhile, does not.
        for (let attempt = 0; attempt < 3 && least >= MOST_MS; attempt++) {
          await server.measure();
          expect(new Set(await Promise.all(Array.from({ length: count }, run)))).toEqual(new Set([status]));
          const { longestMs, rssMiB } = await server.measure();
          if (process.env.SHOW_TURNS) console.log(name, count, longestMs.toFixed(1), Math.round(rssMiB));
          least = Math.min(least, longestMs);
        }
        expect(least).toBeLessThan(MOST_MS);
      },
      HANG_MS,
    );
  }
}

test.each([
  ["HTTP port, REST", "/v1/completions", "application/json"],
  ["HTTP port, Connect", "/scalellm.v1.InferenceService/Generate", "application/connect+proto"],
  ["gRPC port", "/scalellm.v1.InferenceService/Generate", "application/grpc"],
])(
  "%s: 3,600 streams that are reset at once",
  async (port, path, contentType) => {
    let least = Number.POSITIVE_INFINITY;
    for (let attempt = 0; attempt < 3 && least >= MOST_MS; attempt++) {
      await server.measure();
      const at = port === "gRPC port" ? server.grpcPort : Number(new URL(server.url).port);
      // Bun ends a connection at its 1,000th reset.
      await Promise.all(Array.from({ length: 4 }, () => floodOfResets(at, path, contentType, 900)));
      const { longestMs } = await server.measure();
      if (process.env.SHOW_TURNS) console.log(port, longestMs.toFixed(1));
      least = Math.min(least, longestMs);
    }
    expect(least).toBeLessThan(MOST_MS);
  },
  HANG_MS,
);
