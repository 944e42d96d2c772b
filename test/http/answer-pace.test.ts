import { expect, test } from "bun:test";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { InferenceService } from "../../src/gen/scalellm/v1/inference_pb.ts";
import { AnswerPace } from "../../src/http/answer-pace.ts";
import { createConnectHandler } from "../../src/http/connect/create-connect-handler.ts";
import { createGrpcServer } from "../../src/http/grpc/grpc-server.ts";
import { API_KEY, createFixture, MODEL } from "./connect-fixture.ts";
import { TestServer } from "./test-server.ts";

function paceOf(...steps: ReadonlyArray<readonly [atMs: number, tokens: number]>) {
  let nowMs = 0;
  const pace = new AnswerPace({ nowMs: () => nowMs, epochS: () => 0 }, 100);
  for (const [atMs, tokens] of steps) {
    nowMs = atMs;
    pace.event({ type: "text-delta", index: 0, text: "x", tokenIds: Array(tokens).fill(1), logprobs: undefined });
  }
  return pace.fields();
}

test("the first token's time, and the speed of those after it", () => {
  expect(paceOf()).toEqual({});
  expect(paceOf([150, 0])).toEqual({});
  expect(paceOf([150, 1])).toEqual({ outputTokens: 1, ttftMs: 50 });
  expect(paceOf([150, 1], [650, 1], [1150, 1])).toEqual({ outputTokens: 3, ttftMs: 50, tokensPerS: 2 });
  // Several tokens in the first message took no time of their own.
  expect(paceOf([150, 4], [1150, 4])).toEqual({ outputTokens: 8, ttftMs: 50, tokensPerS: 4 });
});

const PACE = { ttftMs: expect.any(Number), tokensPerS: expect.any(Number) };

test("REST: access lines tell of both, streamed or not, and of a stream that was left", async () => {
  await using server = new TestServer();
  const pieces = ["a", "b", "c"];
  server.replica.script = () => ({ pieces, before: () => Bun.sleep(2) });
  for (const stream of [false, true]) {
    await (await server.chat({ stream })).text();
    expect(server.log.at(-1)).toMatchObject({ route: "/v1/chat/completions", ...PACE });
  }
  const gate = Promise.withResolvers<void>();
  server.replica.script = () => ({ pieces, before: (step) => (step === 2 ? gate.promise : Bun.sleep(2)) });
  const reader = (await server.chat({ stream: true })).body!.getReader();
  await reader.read();
  await reader.cancel();
  gate.resolve();
  while (server.log.at(-1)!.status !== 499) await Bun.sleep(1);
  expect(server.log.at(-1)).toMatchObject({ outputTokens: expect.any(Number), ttftMs: expect.any(Number) });
  await (await server.chat({ n: 0 })).text();
  expect(server.log.at(-1)).not.toHaveProperty("ttftMs");
});

test("RPC: the same, over every protocol", async () => {
  const { deps, logged } = createFixture();
  const handle = createConnectHandler(deps);
  const http = Bun.serve({ port: 0, fetch: (request) => handle(request) ?? new Response(null, { status: 404 }) });
  const grpc = await createGrpcServer(deps, { hostname: "127.0.0.1", port: 0 });
  const { createGrpcTransport } = await import("@connectrpc/connect-node");
  const options = { baseUrl: http.url.origin, httpVersion: "1.1" } as const;
  const transports = [
    createConnectTransport(options),
    createGrpcWebTransport(options),
    createGrpcTransport({ baseUrl: `http://127.0.0.1:${grpc.port}` }),
  ];
  const request = { model: MODEL, prompt: { case: "text", value: "Hi" }, sampling: { maxTokens: 8 } } as const;
  const headers = { authorization: `Bearer ${API_KEY}` };
  for (const transport of transports) {
    const client = createClient(InferenceService, transport);
    for await (const _ of client.generate(request, { headers }));
    await client.complete(request, { headers });
    for (const method of ["Generate", "Complete"]) {
      const line = logged.splice(0, 1)[0]!;
      expect(line.method).toEndWith(method);
      expect(line).toMatchObject({ outputTokens: expect.any(Number), ttftMs: expect.any(Number) });
    }
  }
  await http.stop(true);
  await grpc.close(false);
});
