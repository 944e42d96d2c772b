/**
 * The server under test of Connect's conformance suite: says on stdout where it listens, after stdin has said for what.
 * Everything but the service itself is ours: handlers, options, bodies, frames.
 */
import { create, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { createConnectRouter, type ServiceImpl } from "@connectrpc/connect";
import { serveConnect } from "../../src/http/connect/create-connect-handler.ts";
import { RequestBodies } from "../../src/http/connect/request-bodies.ts";
import { rpcOptions } from "../../src/http/connect/rpc-options.ts";
import { dispatchCalls } from "../../src/http/grpc/dispatch-calls.ts";
import { listenGrpc } from "../../src/http/grpc/grpc-listener.ts";
import { createFixture } from "../http/connect-fixture.ts";
import { ConformanceSchema } from "./conformance-schema.ts";
import { createConformanceService } from "./conformance-service.ts";
import { tlsFront } from "./tls-front.ts";

const PROTOCOL_GRPC = 2;
const HOST = "127.0.0.1";

const schema = await ConformanceSchema.load(process.argv[2]!);
const { protocol, messageReceiveLimit, serverCreds } = await readRequest();
const receiveLimit = messageReceiveLimit === 0 ? {} : { maxBodyBytes: messageReceiveLimit };
const { deps } = createFixture(receiveLimit);
const { service, registry } = schema;
const options = rpcOptions(deps, [service.typeName]);
const router = createConnectRouter({
  ...options,
  // Its messages hold others of any type.
  jsonOptions: { ...options.jsonOptions, registry },
  ...(protocol === PROTOCOL_GRPC ? { connect: false, grpcWeb: false } : { grpc: false }),
});
router.service(service, createConformanceService(schema) as unknown as ServiceImpl<typeof service>);
const port = await listen();
writeResponse(
  serverCreds === undefined ? { port } : { port: await tlsFront(serverCreds, port), pemCert: serverCreds.cert },
);

async function listen(): Promise<number> {
  if (protocol === PROTOCOL_GRPC) {
    const onStream = dispatchCalls(router.handlers, new RequestBodies(deps), deps, undefined);
    const address = { hostname: HOST, port: 0 };
    const listener = await listenGrpc({
      address,
      limits: deps.limits,
      clock: deps.clock,
      turns: deps.turns,
      descriptors: deps.descriptors,
      onStream,
      otherProtocol: () => undefined,
    });
    return listener.port;
  }
  const handler = serveConnect(router.handlers, deps);
  const options = { hostname: HOST, port: 0, http2: true, idleTimeout: 0, maxRequestBodySize: Number.MAX_SAFE_INTEGER };
  const fetch = (request: Request) => handler(request) ?? new Response(null, { status: 404 });
  return Bun.serve({ ...options, fetch } as Parameters<typeof Bun.serve>[0]).port!;
}

/** A message with its length in four bytes before it. */
async function readRequest() {
  const chunks: Uint8Array[] = [];
  for await (const chunk of Bun.stdin.stream()) {
    chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    if (bytes.length < 4 || bytes.length < 4 + bytes.readUInt32BE()) continue;
    const request = fromBinary(schema.message("ServerCompatRequest"), bytes.subarray(4, 4 + bytes.readUInt32BE()));
    return request as MessageShape<ReturnType<typeof schema.message>> & {
      protocol: number;
      messageReceiveLimit: number;
      serverCreds?: { cert: Uint8Array; key: Uint8Array };
    };
  }
  throw new Error("stdin ended before the request");
}

function writeResponse(fields: { port: number; pemCert?: Uint8Array }): void {
  const type = schema.message("ServerCompatResponse");
  const message = toBinary(type, create(type, { host: HOST, ...fields }));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(message.length);
  process.stdout.write(Buffer.concat([length, message]));
}
