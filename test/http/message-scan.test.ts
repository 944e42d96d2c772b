import { describe, expect, test } from "bun:test";
import { create, type DescMessage, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { LIMITS } from "../../src/config/limits.ts";
import { ServeError } from "../../src/core/errors.ts";
import {
  CompleteRequestSchema,
  DetokenizeRequestSchema,
  GenerateRequestSchema,
  InferenceService,
} from "../../src/gen/scalellm/v1/inference_pb.ts";
import { MessageBounds } from "../../src/http/connect/message-bounds.ts";
import { MessageScan } from "../../src/http/connect/message-scan.ts";
import { WireFields } from "../../src/http/connect/wire-fields.ts";
import { cpuMs } from "../loop/turn-sampler.ts";

const CONTEXT = 8192;
const MILLIONS = 4_000_000;
const types = new WireFields();
const bounds = new MessageBounds(CONTEXT, LIMITS);

/** How a message is refused; undefined where it is not. */
function refusal(type: DescMessage, bytes: Uint8Array): ServeError | undefined {
  try {
    new MessageScan(bytes, bounds, types).check(type);
    return undefined;
  } catch (error) {
    if (error instanceof ServeError) return error;
    throw error;
  }
}

/** Field `no` with these bytes in it. */
function inside(no: number, bytes: Uint8Array): Uint8Array {
  return new BinaryWriter().tag(no, WireType.LengthDelimited).bytes(bytes).finish();
}

function repeated(bytes: Uint8Array, times: number): Uint8Array {
  const all = new Uint8Array(bytes.length * times);
  for (let i = 0; i < times; i++) all.set(bytes, i * bytes.length);
  return all;
}

function groups(depth: number): Uint8Array {
  const writer = new BinaryWriter();
  for (let i = 0; i < depth; i++) writer.tag(500, WireType.StartGroup);
  for (let i = 0; i < depth; i++) writer.tag(500, WireType.EndGroup);
  return writer.finish();
}

function nestedLists(depth: number): Uint8Array {
  let value: Uint8Array = new Uint8Array(0);
  // Value.list_value, then ListValue.values.
  for (let i = 0; i < depth; i++) value = inside(6, inside(1, value));
  const entry = inside(2, value);
  return inside(4, inside(3, inside(1, entry)));
}

const ids = new Uint8Array(MILLIONS).fill(1);
const unpacked = repeated(Uint8Array.of(0x10, 1), MILLIONS);

/** Small on the wire, many objects once read. */
const HEAVY: Record<string, [DescMessage, Uint8Array, string | undefined]> = {
  "packed ids": [DetokenizeRequestSchema, inside(2, ids), "token_ids"],
  "ids in many packed blocks": [DetokenizeRequestSchema, repeated(inside(2, ids.subarray(0, 4000)), 1000), "token_ids"],
  "ids one by one": [DetokenizeRequestSchema, unpacked, "token_ids"],
  "a prompt's ids": [CompleteRequestSchema, inside(3, inside(1, ids)), "prompt"],
  "a prompt given again and again": [
    CompleteRequestSchema,
    repeated(inside(3, inside(1, ids.subarray(0, 9))), 1000),
    "prompt",
  ],
  "output to resume": [GenerateRequestSchema, inside(9, inside(1, ids)), "resume.output_token_ids"],
  "stop token ids": [CompleteRequestSchema, inside(5, inside(13, ids)), "stop_token_ids"],
  "stop strings": [CompleteRequestSchema, inside(5, repeated(inside(12, ids.subarray(0, 1)), 100_000)), "stop"],
  "a map": [CompleteRequestSchema, inside(5, repeated(inside(11, Uint8Array.of(8, 1)), 100_000)), "logit_bias"],
  messages: [CompleteRequestSchema, inside(4, repeated(inside(1, new Uint8Array(0)), 100_000)), "messages"],
  "a field given again and again": [CompleteRequestSchema, repeated(inside(5, new Uint8Array(0)), 100_000), undefined],
  "unknown fields": [CompleteRequestSchema, repeated(Uint8Array.of(0x78, 1), 100_000), undefined],
  "unknown fields in a group": [CompleteRequestSchema, repeated(Uint8Array.of(0x7b, 8, 1, 0x7c), 100_000), undefined],
  "template variables": [
    CompleteRequestSchema,
    inside(4, inside(3, repeated(inside(1, Uint8Array.of(0x0a, 0)), 100_000))),
    undefined,
  ],
  "deep groups": [CompleteRequestSchema, groups(100_000), undefined],
  "deep template variables": [CompleteRequestSchema, nestedLists(3000), undefined],
};

describe("a message that would become too many objects is refused", () => {
  for (const [what, [type, bytes, param]] of Object.entries(HEAVY)) {
    test(what, () => {
      refusal(type, bytes);
      const before = cpuMs();
      const error = refusal(type, bytes);
      // Reading the first takes 100 ms and more.
      expect(cpuMs() - before).toBeLessThan(30);
      expect(error).toMatchObject({ code: "invalid_argument" });
      expect(error!.param || undefined).toBe(param);
    });
  }
});

test("bytes that are no message of the type are the client's fault", () => {
  const good = toBinary(
    CompleteRequestSchema,
    create(CompleteRequestSchema, { model: "m", sampling: { stop: ["a"] } }),
  );
  for (let length = 1; length < good.length; length++) {
    const error = refusal(CompleteRequestSchema, good.subarray(0, length));
    if (error !== undefined) expect(error.reason).toBe("invalid_protobuf");
  }
  for (const bytes of [
    [0x0d, 1, 2, 3, 4],
    [0x0f],
    [0x7c],
    [0x7b, 0x74],
    [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    [8],
    [0, 1],
  ]) {
    expect(refusal(CompleteRequestSchema, Uint8Array.from(bytes))?.reason).toBe("invalid_protobuf");
  }
});

test("messages as large as they may be pass, for every method", () => {
  const tokenIds = Array.from({ length: CONTEXT }, (_, i) => i * 5);
  const sampling = {
    maxTokens: -1,
    temperature: 0.5,
    seed: -5n,
    stop: Array(LIMITS.maxStopStrings).fill("é".repeat(256)),
    stopTokenIds: Array(LIMITS.maxStopTokenIds).fill(-1),
    logitBias: Object.fromEntries(Array.from({ length: LIMITS.maxLogitBias }, (_, i) => [i, -1.5])),
    ignoreEos: true,
  };
  const chat = {
    messages: Array(LIMITS.maxMessages).fill({ role: "user", content: "Hello", name: "n" }),
    addGenerationPrompt: false,
    templateVariables: { a: [1, "b", null, { c: [true] }], d: {} },
  };
  const rest = { model: "m", sampling, n: 2, priority: -3, addSpecialTokens: true };
  const fit: [DescMessage, Uint8Array][] = [
    [DetokenizeRequestSchema, toBinary(DetokenizeRequestSchema, create(DetokenizeRequestSchema, { tokenIds }))],
    ...[
      { case: "tokenIds" as const, value: { ids: tokenIds } },
      { case: "chat" as const, value: chat },
      { case: "text" as const, value: "x".repeat(100_000) },
    ].map((prompt): [DescMessage, Uint8Array] => {
      const message = create(GenerateRequestSchema, { ...rest, prompt, resume: { outputTokenIds: tokenIds } } as never);
      return [GenerateRequestSchema, toBinary(GenerateRequestSchema, message)];
    }),
  ];
  for (const [type, bytes] of fit) expect(refusal(type, bytes)).toBeUndefined();
  for (const { input } of InferenceService.methods) expect(refusal(input, new Uint8Array(0))).toBeUndefined();
});
