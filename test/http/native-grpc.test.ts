import { expect, test } from "bun:test";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Health } from "../../src/gen/grpc/health/v1/health_pb.ts";
import { InferenceService } from "../../src/gen/scalellm/v1/inference_pb.ts";
import { createConnectHandler } from "../../src/http/connect/create-connect-handler.ts";
import { createFixture } from "./connect-fixture.ts";
import { grpcPost, RawHttp2 } from "./raw-http2.ts";
import { TestServer } from "./test-server.ts";

const GRPC_PORT = 50_123;

/** With a key, which these clients do not have: they are told all the same. */
function start(grpcPort?: number): TestServer {
  const connectHandler = createConnectHandler(createFixture().deps);
  return new TestServer({ keys: ["secret"], connectHandler, ...(grpcPort === undefined ? {} : { grpcPort }) });
}

async function failure(run: Promise<unknown>): Promise<ConnectError> {
  return run.then(
    () => {
      throw new Error("the call succeeded");
    },
    (error: unknown) => ConnectError.from(error),
  );
}

test("gRPC's clients learn which port is gRPC's, whatever they call", async () => {
  await using server = start(GRPC_PORT);
  const transport = createGrpcTransport({ baseUrl: server.url });
  const inference = createClient(InferenceService, transport);
  const calls = [
    inference.listModels({}),
    Array.fromAsync(inference.generate({ model: "x" })),
    createClient(Health, transport).check({}),
  ];
  for (const call of calls) {
    const error = await failure(call);
    expect(error.code).toBe(Code.Unimplemented);
    expect(error.rawMessage).toContain(`port ${GRPC_PORT}`);
  }
  expect(server.log.filter(({ message }) => message === "request").map(({ status }) => status)).toEqual([
    501, 501, 501,
  ]);
});

test("or that gRPC is switched off", async () => {
  await using server = start();
  const client = createClient(InferenceService, createGrpcTransport({ baseUrl: server.url }));
  expect((await failure(client.listModels({}))).rawMessage).toContain("--no-grpc");
});

test("the status is in the head, which is the last frame of its stream", async () => {
  await using server = start(GRPC_PORT);
  const raw = await RawHttp2.connect(server.server.port);
  raw.write(grpcPost(1, "/grpc.health.v1.Health/Check", 5));
  const head = await raw.until(({ streamId }) => streamId === 1);
  expect(head?.type).toBe(1);
  expect(head!.flags & 1).toBe(1);
  raw.destroy();
});

test("over HTTP/1.1, through a proxy, the same; gRPC-Web is served", async () => {
  await using server = start(GRPC_PORT);
  const send = (type: string) =>
    server.post("/scalellm.v1.InferenceService/ListModels", "\0\0\0\0\0", { "content-type": type });
  for (const type of ["application/grpc", "application/grpc+proto", "application/grpc; charset=x"]) {
    const { status, headers } = await send(type);
    expect([status, headers.get("grpc-status"), headers.get("content-type")]).toEqual([200, "12", "application/grpc"]);
    expect(headers.get("grpc-message")).toContain(`port ${GRPC_PORT}`);
  }
  expect((await send("application/grpc-web")).headers.get("grpc-message")).toBeNull();
});
