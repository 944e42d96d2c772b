import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  create,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import * as grpc from "@grpc/grpc-js";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../../src/gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "../../src/gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionAlpha } from "../../src/gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { InferenceService } from "../../src/gen/scalellm/v1/inference_pb.ts";
import { createGrpcServer, type GrpcServer } from "../../src/http/grpc/grpc-server.ts";
import { API_KEY, createFixture, MODEL, type ScriptedReplica } from "./connect-fixture.ts";

/** The gRPC project's own client, which shares no code with the server. */
let client: grpc.Client;
let server: GrpcServer;
let replica: ScriptedReplica;

beforeEach(async () => {
  const fixture = createFixture();
  replica = fixture.replica;
  server = await createGrpcServer(fixture.deps, { hostname: "127.0.0.1", port: 0 });
  client = new grpc.Client(`127.0.0.1:${server.port}`, grpc.credentials.createInsecure());
});
afterEach(async () => {
  client.close();
  await server.close(false);
});

function metadata(key: string | undefined = API_KEY): grpc.Metadata {
  const result = new grpc.Metadata();
  if (key !== undefined) result.set("x-api-key", key);
  return result;
}

function codec<M extends DescMethod>(method: M) {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    write: (message: MessageInitShape<M["input"]>) =>
      Buffer.from(toBinary(method.input, create(method.input, message))),
    read: (bytes: Buffer) => fromBinary(method.output, bytes) as MessageShape<M["output"]>,
  };
}

function unary<M extends DescMethod>(
  method: M,
  message: MessageInitShape<M["input"]>,
  key?: string,
): Promise<MessageShape<M["output"]>> {
  const { path, write, read } = codec(method);
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, write, read, message, metadata(key), (error, value) => {
      if (error) reject(error);
      else resolve(value!);
    });
  });
}

function generate(message: MessageInitShape<typeof InferenceService.method.generate.input>, options = {}) {
  const { path, write, read } = codec(InferenceService.method.generate);
  return client.makeServerStreamRequest(path, write, read, message, metadata(), options);
}

/** Asks the reflection service each question on one stream. */
async function reflect<M extends DescMethod>(
  method: M,
  questions: MessageInitShape<M["input"]>[],
  key?: string,
): Promise<MessageShape<M["output"]>[]> {
  const { path, write, read } = codec(method);
  const stream = client.makeBidiStreamRequest(path, write, read, metadata(key));
  for (const question of questions) stream.write(question);
  stream.end();
  const answers: MessageShape<M["output"]>[] = [];
  for await (const answer of stream) answers.push(answer);
  return answers;
}

const hi = { model: MODEL, prompt: { case: "text", value: "hi" } } as const;

test("streams, completes and lists", async () => {
  const cases: Array<string | undefined> = [];
  for await (const { event } of generate({ ...hi, sampling: { maxTokens: 2 } })) cases.push(event.case);
  expect(cases).toEqual(["prompt", "textDelta", "textDelta", "end"]);
  const answer = await unary(InferenceService.method.complete, { ...hi, sampling: { maxTokens: 3 } });
  expect(answer.choices[0]?.text).toBe("abc");
  expect((await unary(InferenceService.method.listModels, {})).models[0]?.name).toBe(MODEL);
});

test("errors carry their code", async () => {
  const { complete } = InferenceService.method;
  await expect(unary(complete, { ...hi, model: "none" })).rejects.toMatchObject({ code: grpc.status.NOT_FOUND });
  await expect(unary(complete, hi, "wrong")).rejects.toMatchObject({ code: grpc.status.UNAUTHENTICATED });
  replica.ready = false;
  await expect(unary(complete, hi)).rejects.toMatchObject({ code: grpc.status.UNAVAILABLE });
  const none = { ...complete, name: "None" } as typeof complete;
  await expect(unary(none, hi)).rejects.toMatchObject({ code: grpc.status.UNIMPLEMENTED });
});

test("cancel and deadline free the replica", async () => {
  replica.tokenMs = 2;
  const run = async (options: object, onEvent: (stream: ReturnType<typeof generate>) => void): Promise<number> => {
    const stream = generate(hi, options);
    try {
      for await (const _ of stream) onEvent(stream);
    } catch (error) {
      return (error as grpc.ServiceError).code;
    }
    throw new Error("the stream ended");
  };
  expect(await run({}, (stream) => stream.cancel())).toBe(grpc.status.CANCELLED);
  await replica.untilRunning(0);
  expect(await run({ deadline: Date.now() + 200 }, () => {})).toBe(grpc.status.DEADLINE_EXCEEDED);
  await replica.untilRunning(0);
});

test("health needs no key", async () => {
  const { status } = await unary(Health.method.check, { service: InferenceService.typeName }, "");
  expect(status).toBe(Status.SERVING);
});

for (const [version, service] of [
  ["v1", ServerReflection],
  ["v1alpha", ServerReflectionAlpha],
] as const) {
  test(`reflection ${version} lists services and finds files`, async () => {
    const answers = await reflect(service.method.serverReflectionInfo, [
      { messageRequest: { case: "listServices", value: "" } },
      { messageRequest: { case: "fileByFilename", value: "scalellm/v1/inference.proto" } },
      { messageRequest: { case: "fileContainingSymbol", value: "scalellm.v1.InferenceService.Generate" } },
      { messageRequest: { case: "fileContainingSymbol", value: "scalellm.v1.SamplingParams.top_p" } },
      { messageRequest: { case: "fileContainingSymbol", value: "scalellm.v1.FINISH_REASON_STOP" } },
      { messageRequest: { case: "fileContainingSymbol", value: "google.protobuf.NULL_VALUE" } },
      { messageRequest: { case: "fileContainingSymbol", value: "scalellm.v1.None" } },
      { messageRequest: { case: "allExtensionNumbersOfType", value: "scalellm.v1.Usage" } },
    ]);
    const files = answers.map(({ messageResponse: { case: kind, value } }) =>
      kind === "fileDescriptorResponse"
        ? value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes).name)
        : kind,
    );
    const inference = ["scalellm/v1/inference.proto", "google/protobuf/struct.proto"];
    expect(files).toEqual([
      "listServicesResponse",
      inference,
      inference,
      inference,
      inference,
      ["google/protobuf/struct.proto"],
      "errorResponse",
      "allExtensionNumbersResponse",
    ]);
    const [list, , , , , , unknown] = answers;
    if (list?.messageResponse.case !== "listServicesResponse") throw new Error("no list");
    expect(list.messageResponse.value.service.map(({ name }) => name)).toEqual([
      "scalellm.v1.InferenceService",
      "grpc.health.v1.Health",
      "grpc.reflection.v1.ServerReflection",
      "grpc.reflection.v1alpha.ServerReflection",
    ]);
    expect(unknown?.messageResponse.value).toMatchObject({ errorCode: grpc.status.NOT_FOUND });
    expect(unknown?.originalRequest?.messageRequest.value).toBe("scalellm.v1.None");
  });

  test(`reflection ${version} needs a key`, async () => {
    const ask = reflect(service.method.serverReflectionInfo, [], "wrong");
    await expect(ask).rejects.toMatchObject({ code: grpc.status.UNAUTHENTICATED });
  });
}

test("an idle reflection stream does not hold up a graceful stop", async () => {
  const { path, write, read } = codec(ServerReflection.method.serverReflectionInfo);
  const stream = client.makeBidiStreamRequest(path, write, read, metadata());
  stream.write({ messageRequest: { case: "listServices", value: "" } });
  await new Promise((resolve) => stream.once("data", resolve));
  await server.close(true);
});
