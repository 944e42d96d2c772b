import { describe, expect, test } from "bun:test";
import { gzipSync } from "node:zlib";
import { fromJsonString } from "@bufbuild/protobuf";
import { LIMITS } from "../../src/config/limits.ts";
import { systemClock } from "../../src/core/clock.ts";
import { CompleteRequestSchema } from "../../src/gen/scalellm/v1/inference_pb.ts";
import { createConnectHandler } from "../../src/http/connect/create-connect-handler.ts";
import { jsonDecoder } from "../../src/http/connect/json-decoder.ts";
import { type JsonBounds, JsonScanner, restJsonBounds } from "../../src/http/json-bounds.ts";
import { readJsonObject } from "../../src/http/read-json.ts";
import { TurnBudget } from "../../src/http/turn-budget.ts";
import { cpuMs } from "../loop/turn-sampler.ts";
import { API_KEY, createFixture, MODEL as RPC_MODEL } from "./connect-fixture.ts";
import { costlyValues } from "./json-bodies.ts";
import { errorOf, TestServer } from "./test-server.ts";

const UNBOUNDED: JsonBounds = { depth: 1e9, names: 1e9, items: 1e9, values: 1e9 };
/** What any one turn may cost, in CPU time. */
const TURN_MS = 50;

/** What a value is made of, counted after parsing. */
function measure(value: unknown, depth = 1): JsonBounds {
  if (typeof value === "string") return { depth: 0, names: 0, items: 1, values: 0 };
  if (typeof value !== "object" || value === null) return { depth: 0, names: 0, items: 0, values: 0 };
  const inner = Object.values(value);
  const names = Array.isArray(value) ? 0 : inner.length;
  const total = { depth, names, items: 1 + names, values: Math.max(0, inner.length - 1) };
  for (const item of inner) {
    const part = measure(item, depth + 1);
    total.depth = Math.max(total.depth, part.depth);
    for (const kind of ["names", "items", "values"] as const) total[kind] += part[kind];
  }
  return total;
}

function scan(bytes: Uint8Array, bounds: JsonBounds, pieces: (rest: number) => number): string {
  const scanner = new JsonScanner(bounds);
  try {
    for (let at = 0; at < bytes.length; ) {
      const size = pieces(bytes.length - at);
      scanner.push(bytes.subarray(at, at + size));
      at += size;
    }
    return "passes";
  } catch (error) {
    return (error as Error).message;
  }
}

test("what is counted is what the text holds, however it is cut, in every kind of string", () => {
  let seed = 11;
  const random = (below: number) => {
    seed = (seed * 48271) % 2147483647;
    return seed % below;
  };
  const units = ['"', "\\", "[", "{", "]", "}", ",", ":", "a", "é", "漢", "😀", " ", "\n", "\u2028", "x".repeat(70)];
  const string = () => Array.from({ length: random(9) }, () => units[random(units.length)]).join("");
  const value = (depth: number): unknown => {
    const kind = depth > 5 ? random(4) : random(7);
    if (kind < 2) return string();
    if (kind < 4) return [1, -2.5e-7, true, false, null][random(5)];
    const items = Array.from({ length: random(5) }, () => value(depth + 1));
    return kind < 6 ? items : Object.fromEntries(items.map((item, i) => [`${i}${string()}`, item]));
  };
  for (let round = 0; round < 400; round++) {
    const original = [value(0), { a: [value(0)] }];
    const bytes = new TextEncoder().encode(JSON.stringify(original, null, random(2)));
    const exact = measure(original);
    const cut = [(rest: number) => rest, () => 1, () => 1 + random(7)][round % 3]!;
    expect(scan(bytes, exact, cut)).toBe("passes");
    for (const kind of ["depth", "names", "items", "values"] as const) {
      if (exact[kind] > 0) expect(scan(bytes, { ...UNBOUNDED, [kind]: exact[kind] - 1 }, cut)).toContain("more than");
    }
  }
});

test("a long run of backslashes costs no more than its length", () => {
  const bytes = Buffer.from(`{"a":"${"\\\\".repeat(4_000_000)}"}`);
  const beforeMs = cpuMs();
  expect(scan(bytes, UNBOUNDED, (rest) => rest)).toBe("passes");
  expect(cpuMs() - beforeMs).toBeLessThan(1000);
});

/** A body of each kind beyond its bound, as the value of a field that nobody reads, and what the refusal says. */
function beyond(names: number, items: number, values: number): Array<[string, string]> {
  return [
    [`${"[".repeat(257)}${"]".repeat(257)}`, "256 levels deep"],
    [`${'{"a":'.repeat(40_000)}1${"}".repeat(40_000)}`, "256 levels deep"],
    ["[".repeat(500_000), "256 levels deep"],
    [`{${Array.from({ length: names + 1 }, (_, i) => `"${i}":0`)}}`, "named members"],
    [`[${"[],".repeat(items)}[]]`, "strings, arrays and objects"],
    [`[${'"",'.repeat(items)}""]`, "strings, arrays and objects"],
    [`[${"0,".repeat(values)}0]`, "values"],
  ];
}

describe("what is beyond the bounds is refused with 400", () => {
  test("by every endpoint of the OpenAI API, in any field", async () => {
    await using server = new TestServer({ maxModelLen: 131_072 });
    const { maxJsonNames, maxJsonItems, maxJsonValues } = LIMITS;
    for (const path of ["/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize"]) {
      for (const [value, says] of beyond(maxJsonNames, maxJsonItems, maxJsonValues)) {
        for (const field of ["ignored", "chat_template_kwargs", "prompt", "messages"]) {
          const error = await errorOf(await server.post(path, `{"model":"m","${field}":${value}}`), 400);
          expect(error).toMatchObject({ type: "invalid_request_error", code: "invalid_json" });
          expect(error.message).toContain(says);
        }
      }
    }
  });

  test("by every method and protocol of the RPC API", async () => {
    const { deps } = createFixture();
    const handle = createConnectHandler(deps);
    const call = async (method: string, body: BodyInit | undefined, headers: Record<string, string>, query = "") => {
      const init = body === undefined ? { method: "GET" } : { method: "POST", body };
      const request = new Request(`http://test/scalellm.v1.InferenceService/${method}${query}`, {
        ...init,
        headers: { authorization: `Bearer ${API_KEY}`, ...headers },
      });
      const response = await handle(request)!;
      return `${await response.text()} ${response.headers.get("grpc-message") ?? ""}`;
    };
    const enveloped = (text: string) => {
      const frame = Buffer.alloc(5 + Buffer.byteLength(text));
      frame.writeUInt32BE(frame.length - 5, 1);
      frame.write(text, 5);
      return frame;
    };
    const { maxRpcJsonNames, maxRpcJsonItems, maxRpcJsonValues } = LIMITS;
    for (const [value, says] of beyond(maxRpcJsonNames, maxRpcJsonItems, maxRpcJsonValues)) {
      const text = `{"model":"${RPC_MODEL}","ignored":${value}}`;
      for (const method of ["Complete", "Tokenize", "Detokenize", "ListModels"]) {
        expect(await call(method, text, { "content-type": "application/json" })).toContain(says);
      }
      expect(await call("Generate", enveloped(text), { "content-type": "application/connect+json" })).toContain(says);
      const web = await call("Complete", enveloped(text), { "content-type": "application/grpc-web+json" });
      expect(decodeURIComponent(web.replaceAll("%20", " "))).toContain(says);
      const small = gzipSync(text);
      if (text.length < LIMITS.minMaxInflatedBytes) {
        const zipped = { "content-type": "application/json", "content-encoding": "gzip" };
        expect(await call("Complete", small, zipped)).toContain(says);
      }
      if (text.length < LIMITS.maxInflatedUrlBytes) {
        const query = `?connect=v1&encoding=json&base64=1&compression=gzip&message=${small.toString("base64url")}`;
        expect(await call("Tokenize", undefined, {}, query)).toContain(says);
      }
    }
  });

  test("so is RPC JSON that is too long", () => {
    const decode = () => jsonDecoder(LIMITS).decode(Buffer.alloc(LIMITS.maxRpcJsonBytes + 1, " "));
    expect(decode).toThrow(`larger than ${LIMITS.maxRpcJsonBytes} bytes`);
  });

  test("so is RPC JSON that is no UTF-8", async () => {
    const { deps } = createFixture();
    const request = new Request("http://test/scalellm.v1.InferenceService/Tokenize", {
      method: "POST",
      body: Buffer.concat([Buffer.from('{"text":"'), Buffer.of(0xff), Buffer.from('"}')]),
      headers: { authorization: `Bearer ${API_KEY}`, "content-type": "application/json" },
    });
    const response = await createConnectHandler(deps)(request)!;
    expect(response.status).toBe(400);
    expect(await response.text()).toContain("not valid UTF-8");
  });
});

describe("what is within the bounds is read, and costs no turn of the event loop more than its budget", () => {
  /** The least of a few tries: what else the machine does must not count. */
  async function cheapest(run: () => unknown): Promise<number> {
    let least = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 3 && least > TURN_MS; i++) {
      Bun.gc(true);
      const beforeMs = cpuMs();
      await run();
      least = Math.min(least, cpuMs() - beforeMs);
    }
    return least;
  }
  const models = { models: () => [{ maxModelLen: 131_072 }] } as never;

  test.each(Object.entries(costlyValues()))("OpenAI: %s", async (_name, value) => {
    const bytes = Buffer.from(`{"model":"m","a":${value()}}`);
    expect(bytes.length).toBeLessThanOrEqual(LIMITS.maxBodyBytes);
    const turns = new TurnBudget(systemClock, LIMITS);
    const request = () =>
      new Request("http://test/", { method: "POST", body: bytes, headers: { "content-length": String(bytes.length) } });
    expect(
      Object.keys(
        await readJsonObject({ request: request(), bodyPending: true }, { gateway: models, limits: LIMITS, turns }),
      ),
    ).toEqual(["model", "a"]);
    // Each is a turn of its own.
    expect(await cheapest(() => new JsonScanner(restJsonBounds(LIMITS)).push(bytes))).toBeLessThan(TURN_MS);
    const text = bytes.toString("utf8");
    expect(await cheapest(() => JSON.parse(text))).toBeLessThan(TURN_MS);
  });

  const { maxRpcJsonNames, maxRpcJsonItems, maxRpcJsonValues, maxRpcJsonBytes } = LIMITS;
  const rpcValues = costlyValues(maxRpcJsonNames, maxRpcJsonItems, maxRpcJsonValues, maxRpcJsonBytes);
  const decoder = jsonDecoder(LIMITS);
  const rpcBodies = Object.entries(rpcValues).flatMap(([name, value]) => [
    [`${name}, ignored`, () => `{"ignored":${value()}}`] as const,
    [`${name}, for the template`, () => `{"chat":{"templateVariables":{"a":${value()}}}}`] as const,
  ]);
  const ids = rpcValues.ids!;
  const biases = () => `{${Array.from({ length: maxRpcJsonNames - 8 }, (_, i) => `"${i}":1`)}}`;
  const messages = () => `[${Array.from({ length: 4096 }, () => '{"role":"user","content":"hi","name":"n"}')}]`;

  test.each([
    ...rpcBodies,
    ["token ids", () => `{"tokenIds":{"ids":${ids()}}}`] as const,
    ["logit biases", () => `{"sampling":{"logitBias":${biases()}}}`] as const,
    ["messages", () => `{"chat":{"messages":${messages()}}}`] as const,
  ])("RPC: %s", async (_name, json) => {
    const bytes = Buffer.from(json());
    const read = () => {
      const text = decoder.decode(bytes);
      try {
        fromJsonString(CompleteRequestSchema, text, { ignoreUnknownFields: true });
      } catch (error) {
        // A number that is none for Struct.
        if (!String(error).includes("cannot decode")) throw error;
      }
    };
    expect(await cheapest(read)).toBeLessThan(TURN_MS);
  });

  test("a chat of as many messages as are allowed, with a text part each", async () => {
    await using server = new TestServer({ maxModelLen: 131_072 });
    const parts = Array.from({ length: LIMITS.maxMessages }, (_, i) => ({
      role: i % 2 === 0 ? "user" : "assistant",
      content: [{ type: "text", text: "hi" }],
    }));
    const response = await server.chat({ messages: parts });
    expect(response.status).toBe(200);
  });
});

test("of members with one name the last counts, whatever the name", async () => {
  await using server = new TestServer();
  const body =
    '{"model":"x","model":"org/fake","__proto__":{"prompt":"no"},"prompt":"a","prompt":"Hi","constructor":1}';
  expect((await server.post("/v1/completions", body)).status).toBe(200);
  expect(server.replica.requests[0]!.promptText).toBe("Hi");
});
