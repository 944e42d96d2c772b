import { createConnectRouter, createContextValues } from "@connectrpc/connect";
import {
  readAllBytes,
  type UniversalHandler,
  type UniversalServerResponse,
  universalServerRequestFromFetch,
} from "@connectrpc/connect/protocol";
import type { Limits } from "../../config/limits.ts";
import { InferenceService } from "../../gen/scalellm/v1/inference_pb.ts";
import { bodyWithin } from "./body-deadline.ts";
import { FRAME_SINK, takesFrames } from "./frame-sink.ts";
import { createInferenceService } from "./inference-service.ts";
import { ResponseBody } from "./response-body.ts";
import type { RpcDeps } from "./rpc-deps.ts";
import { rpcOptions } from "./rpc-options.ts";

/** Answers a service's request; undefined for every path that is none of the services'. */
export type ConnectHandler = (request: Request) => Promise<Response> | undefined;

/**
 * Connect and gRPC-Web for a fetch server. Native gRPC is refused here (415): its status travels in HTTP trailers, which a
 * fetch Response does not have; grpc-server.ts serves it on a port of its own.
 */
export function createConnectHandler(deps: RpcDeps): ConnectHandler {
  const router = createConnectRouter({ ...rpcOptions(deps), grpc: false });
  router.service(InferenceService, createInferenceService(deps));
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  const prefix = `/${InferenceService.typeName}/`;
  return (request) => {
    const { pathname } = new URL(request.url);
    const handler = handlers.get(pathname);
    if (handler !== undefined) return answer(handler, request, deps.limits);
    return pathname.startsWith(prefix) ? Promise.resolve(new Response(null, { status: 404 })) : undefined;
  };
}

async function answer(handler: UniversalHandler, request: Request, limits: Limits): Promise<Response> {
  const body = new ResponseBody(limits.stalledReaderMs);
  const source = universalServerRequestFromFetch(request, {});
  const response = await handler({
    ...source,
    body: bodyWithin(source.body as AsyncIterable<Uint8Array>, limits.bodyDeadlineMs),
    // Either tells of a client that went away; which one fires first depends on what the server is doing.
    signal: AbortSignal.any([request.signal, body.signal]),
    contextValues: createContextValues().set(FRAME_SINK, takesFrames(request.headers) ? body : undefined),
  });
  return new Response(await contentOf(response, body, limits), {
    status: response.status,
    ...(response.header === undefined ? {} : { headers: response.header }),
  });
}

/** A body of known length goes out whole; anything else is a stream. */
async function contentOf({ body, header }: UniversalServerResponse, stream: ResponseBody, limits: Limits) {
  if (body === undefined) return null;
  if (header?.has("content-length")) {
    return (await readAllBytes(body, limits.maxRpcResponseBytes)) as Uint8Array<ArrayBuffer>;
  }
  return stream.of(body);
}
