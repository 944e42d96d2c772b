import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../../src/gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "../../src/gen/grpc/reflection/v1/reflection_pb.ts";
import { InferenceService } from "../../src/gen/scalellm/v1/inference_pb.ts";
import { MODEL_NAME, type RunningBinary, startBinary } from "./binary.ts";

let server: RunningBinary;
beforeAll(async () => {
  server = await startBinary();
});
afterAll(async () => {
  expect(await server.stop()).toBe(0);
});

const TRANSPORTS: ReadonlyArray<readonly [string, () => Transport]> = [
  ["Connect", () => createConnectTransport({ baseUrl: server.url, httpVersion: "1.1" })],
  ["gRPC-Web", () => createGrpcWebTransport({ baseUrl: server.url, httpVersion: "1.1" })],
  ["gRPC", () => createGrpcTransport({ baseUrl: `http://${server.grpc}` })],
];

const request = () => ({
  model: MODEL_NAME,
  prompt: { case: "chat" as const, value: { messages: [{ role: "user", content: "What is 2+2?" }] } },
  sampling: { maxTokens: 24, temperature: 0 },
});

describe.each(TRANSPORTS)("%s", (_, transport) => {
  test("a stream and a unary call say the same", async () => {
    const client = createClient(InferenceService, transport());
    let text = "";
    let ends = 0;
    for await (const { event } of client.generate(request())) {
      if (event.case === "textDelta") text += event.value.text;
      if (event.case === "end") ends++;
    }
    expect(ends).toBe(1);
    expect(text).toContain("4");
    const complete = await client.complete(request());
    expect(complete.choices[0]!.text).toBe(text);
  });

  test("tokenises, detokenises, lists models", async () => {
    const client = createClient(InferenceService, transport());
    const { tokenIds } = await client.tokenize({ model: MODEL_NAME, input: { case: "text", value: "Hello world" } });
    expect([...tokenIds]).toEqual([19556, 905]);
    expect((await client.detokenize({ model: MODEL_NAME, tokenIds })).text).toBe("Hello world");
    expect((await client.listModels({})).models.map((model) => model.name)).toEqual([MODEL_NAME]);
  });
});

test("gRPC health and reflection", async () => {
  const transport = createGrpcTransport({ baseUrl: `http://${server.grpc}` });
  expect((await createClient(Health, transport).check({})).status).toBe(Status.SERVING);
  const requests = (async function* () {
    yield { messageRequest: { case: "listServices", value: "" } } as const;
  })();
  const names: string[] = [];
  for await (const { messageResponse } of createClient(ServerReflection, transport).serverReflectionInfo(requests)) {
    if (messageResponse.case === "listServicesResponse") {
      names.push(...messageResponse.value.service.map((service) => service.name));
    }
  }
  expect(names.sort()).toEqual([
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "scalellm.v1.InferenceService",
  ]);
});
