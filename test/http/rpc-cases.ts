import { afterEach, beforeEach, expect, test } from "bun:test";
import { Code, ConnectError, createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import { compressionGzip } from "@connectrpc/connect-node";
import type { Limits } from "../../src/config/limits.ts";
import { ServeError } from "../../src/core/errors.ts";
import { Gateway } from "../../src/gateway/gateway.ts";
import { ErrorDetailSchema, FinishReason, InferenceService } from "../../src/gen/scalellm/v1/inference_pb.ts";
import type { RpcDeps } from "../../src/http/connect/rpc-deps.ts";
import { API_KEY, createFixture, type LogLine, MAX_MODEL_LEN, MODEL, type ScriptedReplica } from "./connect-fixture.ts";

const KEY = { authorization: `Bearer ${API_KEY}` };

export interface Listening {
  baseUrl: string;
  stop(): Promise<void>;
}

export interface TransportOptions {
  baseUrl: string;
  interceptors: Interceptor[];
  sendCompression?: Compression;
  acceptCompression?: Compression[];
}

/** What every protocol must do alike. `listen` starts a server for it, `connect` makes a client's transport. */
export function rpcCases(
  protocol: string,
  listen: (deps: RpcDeps) => Promise<Listening>,
  connect: (options: TransportOptions) => Transport,
): void {
  let replica: ScriptedReplica;
  let logged: LogLine[];
  let deps: RpcDeps;
  let listening: Listening;

  const start = async (limits: Partial<Limits> = {}): Promise<void> => {
    ({ deps, replica, logged } = createFixture(limits));
    listening = await listen(deps);
  };
  const client = (headers: Record<string, string> = KEY, options: Partial<TransportOptions> = {}) => {
    const authorize: Interceptor = (next) => (request) => {
      for (const [name, value] of Object.entries(headers)) request.header.set(name, value);
      return next(request);
    };
    const transport = connect({ baseUrl: listening.baseUrl, interceptors: [authorize], ...options });
    return createClient(InferenceService, transport);
  };
  const failure = async (run: () => Promise<unknown>): Promise<ConnectError> => {
    try {
      await run();
    } catch (error) {
      return ConnectError.from(error);
    }
    throw new Error("the call succeeded");
  };
  const detail = (error: ConnectError) => error.findDetails(ErrorDetailSchema)[0];
  const drainStream = async (stream: AsyncIterable<unknown>): Promise<number> => {
    let count = 0;
    for await (const _ of stream) count++;
    return count;
  };
  const hi = { model: MODEL, prompt: { case: "text", value: "hi" } } as const;

  beforeEach(() => start());
  afterEach(() => listening.stop());

  test(`${protocol}: Generate streams the prompt, deltas of each choice and their ends`, async () => {
    const events = [];
    const sampling = { maxTokens: 3, logprobs: 1, promptLogprobs: 1 };
    for await (const { event } of client().generate({ ...hi, n: 2, sampling })) events.push(event);
    expect(events.map((event) => event.case)).toEqual(["prompt", ...Array(6).fill("textDelta"), "end", "end"]);
    const [first] = events;
    if (first?.case !== "prompt") throw new Error("no prompt");
    expect(first.value.promptTokens).toBe(3);
    expect(first.value.cachedTokens).toBe(3);
    expect(first.value.systemFingerprint).toBe("fp_0123456789");
    expect(first.value.requestId).toBe(replica.requests[0]!.id);
    expect(first.value.promptLogprobs.map((entry) => entry.logprob?.tokenId)).toEqual([undefined, 104, 105]);
    const deltas = events.flatMap((event) => (event.case === "textDelta" ? [event.value] : []));
    for (const index of [0, 1]) {
      const own = deltas.filter((delta) => delta.index === index);
      expect(own.map((delta) => delta.text).join("")).toBe("abc");
      expect(own.flatMap((delta) => delta.tokenIds)).toEqual([97, 98, 99]);
      expect(
        own.flatMap((delta) => delta.logprobs).map(({ token, rank, top }) => [token[0], rank, top.length]),
      ).toEqual([
        [97, 1, 1],
        [98, 1, 1],
        [99, 1, 1],
      ]);
    }
    const end = events.at(-1);
    if (end?.case !== "end") throw new Error("no end");
    expect(end.value).toMatchObject({
      index: 1,
      finishReason: FinishReason.LENGTH,
      usage: { promptTokens: 3, completionTokens: 3, cachedTokens: 3 },
      timings: { queueMs: 2, prefillMs: 3, decodeMs: 4, preemptions: 1 },
    });
    expect(end.value.stopReason.case).toBeUndefined();
  });

  test(`${protocol}: every sampling parameter reaches the replica`, async () => {
    const sampling = {
      maxTokens: 4,
      minTokens: 2,
      temperature: 0.5,
      topP: 0.25,
      topK: 7,
      minP: 0.125,
      seed: 9_007_199_254_740_991n,
      presencePenalty: 1.5,
      frequencyPenalty: -1.5,
      repetitionPenalty: 1.25,
      logitBias: { 97: -2.5 },
      stop: ["END", "\n"],
      stopTokenIds: [5, 6],
      ignoreEos: true,
      includeStopStrInOutput: true,
      skipSpecialTokens: false,
      logprobs: 2,
      promptLogprobs: 0,
    };
    const resume = { outputTokenIds: [97, 98] };
    await drainStream(client().generate({ ...hi, sampling, priority: -7, resume }, { timeoutMs: 60_000 }));
    const [request] = replica.requests;
    expect(request!.sampling).toEqual({ ...sampling, seed: Number.MAX_SAFE_INTEGER, logitBias: [[97, -2.5]] });
    expect(request).toMatchObject({ model: MODEL, n: 1, priority: -7, tenant: "tenant-a", promptText: "hi" });
    expect([...request!.resume!.outputTokenIds]).toEqual([97, 98]);
    const leftMs = request!.deadlineMs! - deps.clock.nowMs();
    expect(leftMs).toBeGreaterThan(0);
    expect(leftMs).toBeLessThanOrEqual(60_000);
  });

  test(`${protocol}: the server's request timeout and the client's: the shorter one holds`, async () => {
    await listening.stop();
    await start({ requestTimeoutMs: 30_000 });
    for (const options of [{ timeoutMs: 60_000 }, { timeoutMs: 10_000 }, {}]) {
      await client().complete({ ...hi, sampling: { maxTokens: 1 } }, options);
    }
    const leftMs = replica.requests.map(({ deadlineMs }) => deadlineMs! - deps.clock.nowMs());
    expect(leftMs.map((left) => Math.ceil(left / 10_000) * 10_000)).toEqual([30_000, 10_000, 30_000]);
  });

  test(`${protocol}: absent parameters take the defaults`, async () => {
    await client().complete({ ...hi, sampling: { maxTokens: 1 } });
    const [request] = replica.requests;
    expect(request!.sampling).toMatchObject({ temperature: 1, topP: 1, stop: [], skipSpecialTokens: true });
    expect(request!.sampling.logprobs).toBeUndefined();
    expect(request!.deadlineMs).toBeUndefined();
    expect(request!.resume).toBeUndefined();
  });

  test(`${protocol}: Complete gathers the choices`, async () => {
    const answer = await client().complete({ ...hi, n: 2, sampling: { maxTokens: 2, logprobs: 0 } });
    expect(answer.choices.map(({ index, text, tokenIds }) => [index, text, tokenIds])).toEqual([
      [0, "ab", [97, 98]],
      [1, "ab", [97, 98]],
    ]);
    expect(answer.choices[1]!.logprobs.map((entry) => entry.logprob)).toEqual([-0.5, -0.5]);
    expect(answer.choices[1]!.end).toMatchObject({ index: 1, finishReason: FinishReason.LENGTH });
    expect(answer.usage).toMatchObject({ promptTokens: 3, completionTokens: 4, cachedTokens: 3 });
    expect(answer.prompt?.promptTokens).toBe(3);
  });

  test(`${protocol}: prompts come as text, token ids or a chat`, async () => {
    const sampling = { maxTokens: 1 };
    const templateVariables = { suffix: "!" };
    const messages = [
      { role: "system", content: "x" },
      { role: "user", content: "y" },
    ];
    const rpc = client();
    await rpc.complete({ ...hi, sampling, addSpecialTokens: false });
    await rpc.complete({ model: MODEL, sampling, prompt: { case: "tokenIds", value: { ids: [7, 8] } } });
    await rpc.complete({ model: MODEL, sampling, prompt: { case: "chat", value: { messages, templateVariables } } });
    const bare = { messages, addGenerationPrompt: false };
    await rpc.complete({ model: MODEL, sampling, prompt: { case: "chat", value: bare } });
    expect(replica.requests.map((request) => [...request.promptTokenIds].slice(0, 3))).toEqual([
      [104, 105],
      [7, 8],
      [60, 115, 121],
      [60, 115, 121],
    ]);
    expect(replica.requests.map((request) => request.promptText)).toEqual([
      "hi",
      undefined,
      "<system>x<user>y<assistant>!",
      "<system>x<user>y",
    ]);
  });

  test(`${protocol}: Tokenize, Detokenize and ListModels`, async () => {
    const rpc = client();
    const tokens = await rpc.tokenize({ model: MODEL, input: { case: "text", value: "ab" } });
    expect(tokens).toMatchObject({ tokenIds: [1, 97, 98], count: 3, maxModelLen: MAX_MODEL_LEN });
    const chat = { messages: [{ role: "user", content: "a" }] };
    expect((await rpc.tokenize({ model: MODEL, input: { case: "chat", value: chat } })).count).toBe(18);
    expect((await rpc.detokenize({ model: MODEL, tokenIds: [1, 97, 98] })).text).toBe("\u0001ab");
    expect((await rpc.detokenize({ model: MODEL, tokenIds: [1, 97], skipSpecialTokens: true })).text).toBe("a");
    const { models } = await rpc.listModels({});
    expect(models).toHaveLength(1);
    expect(models[0]).toMatchObject({ name: MODEL, createdS: 1_700_000_000n, vocabSize: 256, hasChatTemplate: true });
  });

  test(`${protocol}: tool calls of the past reach the template`, async () => {
    const toolCalls = [{ id: "c1", name: "weather", arguments: { city: "Paris", days: [1, 2] } }];
    const messages = [
      { role: "assistant", toolCalls, reasoningContent: "Hm." },
      { role: "tool", content: "18", name: "weather", toolCallId: "c1" },
    ];
    await client().complete({
      model: MODEL,
      prompt: { case: "chat", value: { messages } },
      sampling: { maxTokens: 1 },
    });
    const call = {
      id: "c1",
      type: "function",
      function: { name: "weather", arguments: { city: "Paris", days: [1, 2] } },
    };
    expect(replica.requests.at(-1)!.promptText).toBe(
      `<assistant>${JSON.stringify({ tool_calls: [call], reasoning_content: "Hm." })}` +
        `<tool>18${JSON.stringify({ name: "weather", tool_call_id: "c1" })}<assistant>`,
    );
  });

  test(`${protocol}: bad requests name the field`, async () => {
    const rpc = client();
    const cases: Array<[Parameters<typeof rpc.complete>[0], Code, string]> = [
      [{ ...hi, model: "none" }, Code.NotFound, "model"],
      [{ model: MODEL }, Code.InvalidArgument, "prompt"],
      [{ ...hi, sampling: { topP: 2 } }, Code.InvalidArgument, "sampling.top_p"],
      [{ ...hi, sampling: { logprobs: 21 } }, Code.InvalidArgument, "sampling.logprobs"],
      [{ ...hi, sampling: { topP: 1e-46 } }, Code.InvalidArgument, "sampling.top_p"],
      [{ ...hi, sampling: { temperature: 1e39 } }, Code.InvalidArgument, "sampling.temperature"],
      [{ ...hi, sampling: { repetitionPenalty: 1e-46 } }, Code.InvalidArgument, "sampling.repetition_penalty"],
      [{ ...hi, sampling: { logitBias: { 5: Number.NaN } } }, Code.InvalidArgument, "sampling.logit_bias"],
      [{ ...hi, sampling: { maxTokens: -2 } }, Code.InvalidArgument, "sampling.max_tokens"],
      [{ ...hi, sampling: { minTokens: 3, maxTokens: 2 } }, Code.InvalidArgument, "sampling.min_tokens"],
      [{ ...hi, sampling: { temperature: Number.NaN } }, Code.InvalidArgument, "sampling.temperature"],
      [{ ...hi, n: 0 }, Code.InvalidArgument, "n"],
      [{ ...hi, prompt: { case: "tokenIds", value: { ids: [256] } } }, Code.InvalidArgument, "prompt"],
      [{ ...hi, prompt: { case: "chat", value: {} } }, Code.InvalidArgument, "chat.messages"],
      [
        { ...hi, prompt: { case: "chat", value: { messages: [{ role: "user", toolCalls: [{ name: "x" }] }] } } },
        Code.InvalidArgument,
        "chat.messages[0].tool_calls",
      ],
      [
        { ...hi, prompt: { case: "chat", value: { messages: [{ role: "assistant", toolCalls: [{}] }] } } },
        Code.InvalidArgument,
        "chat.messages[0].tool_calls[0].name",
      ],
      [
        { ...hi, prompt: { case: "chat", value: { messages: [{ content: "x" }] } } },
        Code.InvalidArgument,
        "chat.messages[0].role",
      ],
    ];
    for (const [message, code, param] of cases) {
      const error = await failure(() => rpc.complete(message));
      expect([error.code, detail(error)?.param]).toEqual([code, param]);
      // A stream fails in the same way, though its error travels at its end.
      const streamed = await failure(() => drainStream(rpc.generate(message as typeof hi)));
      expect([streamed.code, detail(streamed)?.param]).toEqual([code, param]);
    }
    const tooLong = { case: "tokenIds", value: { ids: Array(MAX_MODEL_LEN).fill(9) } } as const;
    const error = await failure(() => rpc.complete({ ...hi, prompt: tooLong }));
    expect(detail(error)?.reason).toBe("context_length_exceeded");
    const tokens = await failure(() => rpc.detokenize({ model: MODEL, tokenIds: [-1] }));
    expect([tokens.code, detail(tokens)?.param]).toEqual([Code.InvalidArgument, "token_ids"]);
    expect(replica.requests).toHaveLength(0);
  });

  test(`${protocol}: seeds of 64 bits are exact, and values are taken as other servers take them`, async () => {
    const rpc = client();
    for (const seed of [-5n, 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n)]) {
      await rpc.complete({ ...hi, sampling: { seed, maxTokens: 1 } });
      expect(BigInt(replica.requests.at(-1)!.sampling.seed)).toBe(seed);
    }
    const lenient = { maxTokens: -1, stop: [""], topP: 0, topK: -1, temperature: 0, minTokens: 1000 };
    await rpc.complete({ ...hi, sampling: lenient });
    const { sampling, promptTokenIds } = replica.requests.at(-1)!;
    expect(sampling).toMatchObject({ stop: [], topP: 1, topK: 0, maxTokens: MAX_MODEL_LEN - promptTokenIds.length });
  });

  test(`${protocol}: a resumed output needs one choice, a seed and tokens left`, async () => {
    const rpc = client();
    const resume = { outputTokenIds: [97, 98] };
    const cases = [
      [{ n: 2, sampling: { seed: 1n } }, "n"],
      [{ sampling: { maxTokens: 5 } }, "sampling.seed"],
      [{ sampling: { seed: 1n, maxTokens: 2 } }, "resume.output_token_ids"],
      [{ sampling: { seed: 1n }, resume: { outputTokenIds: [300] } }, "resume.output_token_ids"],
    ] as const;
    for (const [fields, param] of cases) {
      const error = await failure(() => drainStream(rpc.generate({ ...hi, resume, ...fields } as typeof hi)));
      expect([error.code, detail(error)?.param]).toEqual([Code.InvalidArgument, param]);
    }
  });

  test(`${protocol}: calls need a key`, async () => {
    for (const headers of [{}, { authorization: "Bearer wrong" }, { "x-api-key": "wrong" }]) {
      const rpc = client(headers);
      expect((await failure(() => rpc.listModels({}))).code).toBe(Code.Unauthenticated);
      expect((await failure(() => drainStream(rpc.generate(hi)))).code).toBe(Code.Unauthenticated);
    }
    expect(replica.requests).toHaveLength(0);
    expect((await client({ "x-api-key": API_KEY }).listModels({})).models).toHaveLength(1);
  });

  test(`${protocol}: messages are bounded, compressed ones by what they unpack to`, async () => {
    await listening.stop();
    await start({ maxBodyBytes: 64 * 1024 });
    const oversized = { ...hi, prompt: { case: "text", value: "a".repeat(100_000) } } as const;
    for (const options of [{}, { sendCompression: compressionGzip }]) {
      const rpc = client(KEY, options);
      expect((await failure(() => rpc.complete(oversized))).code).toBe(Code.ResourceExhausted);
      expect((await failure(() => drainStream(rpc.generate(oversized)))).code).toBe(Code.ResourceExhausted);
    }
    expect(replica.requests).toHaveLength(0);
  });

  test(`${protocol}: a list longer than it may be is refused by its field`, async () => {
    const tokenIds = Array(MAX_MODEL_LEN + 1).fill(5);
    const prompt = { case: "tokenIds", value: { ids: tokenIds } } as const;
    const long = [
      () => client().complete({ model: MODEL, prompt }),
      () => drainStream(client().generate({ model: MODEL, prompt })),
      () => drainStream(client().generate({ ...hi, sampling: { seed: 1n }, resume: { outputTokenIds: tokenIds } })),
      () => client().complete({ ...hi, sampling: { stop: Array(17).fill("x") } }),
      () => client().complete({ ...hi, sampling: { stopTokenIds: Array(129).fill(5) } }),
      () =>
        client().complete({
          ...hi,
          sampling: {
            logitBias: Object.fromEntries(
              Array(1025)
                .entries()
                .map(([i]) => [i, 1]),
            ),
          },
        }),
      () =>
        client().complete({
          model: MODEL,
          prompt: { case: "chat", value: { messages: Array(4097).fill({ role: "user" }) } },
        }),
    ];
    const params = [];
    for (const run of long) {
      const error = await failure(run);
      expect(error.code).toBe(Code.InvalidArgument);
      params.push(detail(error)?.param);
    }
    const sampling = ["sampling.stop", "sampling.stop_token_ids", "sampling.logit_bias"];
    expect(params).toEqual(["prompt", "prompt", "resume.output_token_ids", ...sampling, "chat.messages"]);
    expect(replica.requests).toEqual([]);
  });

  test(`${protocol}: a long answer, which is encoded in slices, is as a short one`, async () => {
    const ids = Array.from({ length: 3000 }, (_, i) => i % 256);
    const prompt = { case: "tokenIds", value: { ids } } as const;
    const sampling = { maxTokens: 1200, logprobs: 1, promptLogprobs: 1 };
    const tokenIds = (entries: { logprob?: { tokenId: number } | undefined }[]) =>
      entries.map((e) => e.logprob?.tokenId);
    const scored = [undefined, ...ids.slice(1)];
    const answer = await client().complete({ model: MODEL, prompt, n: 2, sampling });
    expect(answer.prompt).toMatchObject({ promptTokens: 3000, cachedTokens: 3, requestId: replica.requests[0]!.id });
    expect(tokenIds(answer.prompt!.promptLogprobs)).toEqual(scored);
    expect(answer.usage).toMatchObject({ promptTokens: 3000, completionTokens: 2400 });
    for (const [index, choice] of answer.choices.entries()) {
      expect(choice).toMatchObject({ index, end: { finishReason: FinishReason.LENGTH } });
      expect([choice.text.length, choice.tokenIds.length]).toEqual([1200, 1200]);
      expect(choice.logprobs.map(({ tokenId, top }) => [tokenId, top[0]!.tokenId])).toEqual(
        choice.tokenIds.map((id) => [id, id]),
      );
    }
    const events = [];
    for await (const { event } of client().generate({
      model: MODEL,
      prompt,
      sampling: { ...sampling, maxTokens: 2 },
    })) {
      events.push(event);
    }
    expect(events.map((event) => event.case)).toEqual(["prompt", "textDelta", "textDelta", "end"]);
    const [first] = events;
    if (first?.case !== "prompt") throw new Error("no prompt");
    expect(tokenIds(first.value.promptLogprobs)).toEqual(scored);
    expect(first.value.promptTokens).toBe(3000);
    expect(logged.map(({ code }) => code)).toEqual(["ok", "ok"]);
  });

  test(`${protocol}: many ids of Tokenize, which are encoded in slices, are all there and in order`, async () => {
    if (protocol === "GET") return;
    const text = Array.from({ length: 20_000 }, (_, i) => String.fromCharCode(33 + (i % 90))).join("");
    const answer = await client().tokenize({
      model: MODEL,
      input: { case: "text", value: text },
      addSpecialTokens: false,
    });
    expect(answer).toMatchObject({ count: 20_000, maxModelLen: MAX_MODEL_LEN });
    expect(String.fromCharCode(...answer.tokenIds)).toBe(text);
  });

  test(`${protocol}: gzip works both ways`, async () => {
    const options = { sendCompression: compressionGzip, acceptCompression: [compressionGzip] };
    const value = "b".repeat(50_000);
    const answer = await client(KEY, options).tokenize({ model: MODEL, input: { case: "text", value } });
    expect(answer.count).toBe(50_001);
  });

  test(`${protocol}: cancelling frees the replica`, async () => {
    replica.tokenMs = 2;
    const rpc = client();
    const abort = new AbortController();
    const error = await failure(async () => {
      for await (const { event } of rpc.generate(hi, { signal: abort.signal })) {
        if (event.case === "textDelta" && event.value.text === "d") abort.abort();
      }
    });
    expect(error.code).toBe(Code.Canceled);
    await replica.untilRunning(0);
    const unary = new AbortController();
    const pending = failure(() => rpc.complete(hi, { signal: unary.signal }));
    await replica.untilRunning(1);
    unary.abort();
    expect((await pending).code).toBe(Code.Canceled);
    await replica.untilRunning(0);
  });

  test(`${protocol}: a cancel before the first token frees the replica`, async () => {
    replica.tokenMs = 600_000;
    const abort = new AbortController();
    const pending = failure(() => drainStream(client().generate(hi, { signal: abort.signal })));
    await replica.untilRunning(1);
    abort.abort();
    expect((await pending).code).toBe(Code.Canceled);
    await replica.untilRunning(0);
  });

  test(`${protocol}: a deadline ends the call and frees the replica`, async () => {
    replica.tokenMs = 5;
    const rpc = client();
    const streamed = await failure(() => drainStream(rpc.generate(hi, { timeoutMs: 200 })));
    expect(streamed.code).toBe(Code.DeadlineExceeded);
    await replica.untilRunning(0);
    expect((await failure(() => rpc.complete(hi, { timeoutMs: 200 }))).code).toBe(Code.DeadlineExceeded);
    await replica.untilRunning(0);
    // The client itself knows of no deadline here: it is the server that keeps it.
    const timed = client({ ...KEY, "grpc-timeout": "200m", "connect-timeout-ms": "200" });
    expect((await failure(() => drainStream(timed.generate(hi)))).code).toBe(Code.DeadlineExceeded);
    expect((await failure(() => timed.complete(hi))).code).toBe(Code.DeadlineExceeded);
    await replica.untilRunning(0);
  });

  test(`${protocol}: any legal timeout is taken, a malformed one refused`, async () => {
    const legal = [
      ["99999999H", "9999999999"],
      ["596S", "2147483648"],
      ["99999999S", "2147483647"],
      ["99999999M", "0009999999"],
    ];
    for (const [grpc, connect] of legal) {
      const rpc = client({ ...KEY, "grpc-timeout": grpc!, "connect-timeout-ms": connect! });
      expect((await rpc.complete({ ...hi, sampling: { maxTokens: 1 } })).choices).toHaveLength(1);
      expect(await drainStream(rpc.generate({ ...hi, sampling: { maxTokens: 1 } }))).toBe(3);
      const leftMs = replica.requests.at(-1)!.deadlineMs! - deps.clock.nowMs();
      expect(leftMs).toBeGreaterThan(500_000);
      expect(leftMs).toBeLessThanOrEqual(deps.limits.maxRpcTimeoutMs);
    }
    for (const malformed of ["-1", "1.5", "99999999999S", "1x", "S", "soon"]) {
      const rpc = client({ ...KEY, "grpc-timeout": malformed, "connect-timeout-ms": malformed });
      expect((await failure(() => rpc.complete(hi))).code).toBe(Code.InvalidArgument);
      expect((await failure(() => drainStream(rpc.generate(hi)))).code).toBe(Code.InvalidArgument);
    }
  });

  test(`${protocol}: an error in mid-stream ends it with its code, after what was sent`, async () => {
    const options = { param: "x", reason: "y", retryAfterS: 2.5 };
    replica.failure = { atToken: 3, error: new ServeError("overloaded", "Too many requests.", options) };
    const texts: string[] = [];
    const error = await failure(async () => {
      for await (const { event } of client().generate(hi)) if (event.case === "textDelta") texts.push(event.value.text);
    });
    expect(texts).toEqual(["a", "b", "c"]);
    expect([error.code, error.rawMessage]).toEqual([Code.ResourceExhausted, "Too many requests."]);
    expect(detail(error)).toMatchObject({ param: "x", reason: "y", retryAfterS: 2.5 });
  });

  test(`${protocol}: a request that must not be tried again says so to clients that retry`, async () => {
    for (const final of [true, false]) {
      replica.failure = { atToken: 0, error: new ServeError("internal", "Failed repeatedly.", { final }) };
      const rpc = client();
      for (const run of [() => rpc.complete(hi), () => drainStream(rpc.generate(hi))]) {
        const { code, metadata } = await failure(run);
        expect([code, metadata.get("grpc-retry-pushback-ms")]).toEqual([Code.Internal, final ? "-1" : null]);
      }
    }
  });

  test(`${protocol}: an internal error is logged and not shown`, async () => {
    const secret = new Error("secret path");
    replica.failure = { atToken: 1, error: secret };
    const rpc = client();
    for (const run of [() => rpc.complete(hi), () => drainStream(rpc.generate(hi))]) {
      const error = await failure(run);
      expect(error.code).toBe(Code.Internal);
      expect(error.message).not.toContain("secret");
    }
    expect(logged.filter(({ level }) => level === "error").map(({ cause }) => cause)).toEqual([secret, secret]);
  });

  test(`${protocol}: while the model loads, calls are told to come back`, async () => {
    await listening.stop();
    listening = await listen({ ...createFixture().deps, gateway: new Gateway() });
    const error = await failure(() => client().complete(hi));
    const { reason, retryAfterS } = detail(error) ?? {};
    expect([error.code, reason, retryAfterS]).toEqual([Code.Unavailable, "model_loading", 2]);
  });

  test(`${protocol}: a draining server refuses`, async () => {
    await replica.drain();
    const rpc = client();
    const error = await failure(() => drainStream(rpc.generate(hi)));
    expect([error.code, detail(error)?.retryAfterS]).toEqual([Code.Unavailable, 1]);
    deps.lifecycle.drain();
    expect((await failure(() => rpc.listModels({}))).code).toBe(Code.Unavailable);
  });

  test(`${protocol}: a stop waits for calls, or ends them with its reason`, async () => {
    replica.tokenMs = 2;
    const running = failure(() => drainStream(client().generate(hi)));
    await replica.untilRunning(1);
    expect(deps.lifecycle.inFlight).toBeGreaterThan(0);
    deps.lifecycle.abort(new ServeError("unavailable", "Stopped.", { reason: "shutting_down" }));
    const error = await running;
    expect([error.code, error.rawMessage, detail(error)?.reason]).toEqual([
      Code.Unavailable,
      "Stopped.",
      "shutting_down",
    ]);
    await deps.lifecycle.idle();
    expect(replica.running).toBe(0);
  });

  test(`${protocol}: each call is logged with its outcome`, async () => {
    const rpc = client();
    await rpc.listModels({});
    await drainStream(rpc.generate({ ...hi, sampling: { maxTokens: 1 } }));
    await failure(() => rpc.complete({ ...hi, model: "none" }));
    await failure(() => client({}).listModels({}));
    await deps.lifecycle.idle();
    expect(logged.map(({ level, message, method, code, tenant }) => [level, message, method, code, tenant])).toEqual([
      ["info", "rpc", "scalellm.v1.InferenceService/ListModels", "ok", "tenant-a"],
      ["info", "rpc", "scalellm.v1.InferenceService/Generate", "ok", "tenant-a"],
      ["info", "rpc", "scalellm.v1.InferenceService/Complete", "not_found", "tenant-a"],
      ["info", "rpc", "scalellm.v1.InferenceService/ListModels", "unauthenticated", undefined],
    ]);
  });

  test(`${protocol}: 32 streams at once, none mixed up`, async () => {
    const rpc = client();
    const counts = await Promise.all(
      Array.from({ length: 32 }, (_, i) => drainStream(rpc.generate({ ...hi, sampling: { maxTokens: i + 1 } }))),
    );
    expect(counts).toEqual(Array.from({ length: 32 }, (_, i) => i + 3));
  });
}
