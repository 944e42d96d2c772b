import { createConnectRouter } from "@connectrpc/connect";
import {
  readAllBytes,
  type UniversalHandler,
  type UniversalServerResponse,
  universalServerRequestFromFetch,
} from "@connectrpc/connect/protocol";
import type { Limits } from "../../config/limits.ts";
import { InferenceService } from "../../gen/scalellm/v1/inference_pb.ts";
import { bodyWithin } from "./body-deadline.ts";
import { createInferenceService } from "./inference-service.ts";
import type { RpcDeps } from "./rpc-deps.ts";
import { rpcOptions } from "./rpc-options.ts";
import { readerReady } from "./write-stream.ts";

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
  const abort = new AbortController();
  const source = universalServerRequestFromFetch(request, {});
  const response = await handler({
    ...source,
    body: bodyWithin(source.body as AsyncIterable<Uint8Array>, limits.bodyDeadlineMs),
    // Either tells of a client that went away; which one fires first depends on what the server is doing.
    signal: AbortSignal.any([request.signal, abort.signal]),
  });
  return new Response(await responseBody(response, abort, limits), {
    status: response.status,
    ...(response.header === undefined ? {} : { headers: response.header }),
  });
}

/** A body of known length goes out whole; anything else is a stream. */
async function responseBody({ body, header }: UniversalServerResponse, abort: AbortController, limits: Limits) {
  if (body === undefined) return null;
  if (header?.has("content-length")) {
    return (await readAllBytes(body, limits.maxRpcResponseBytes)) as Uint8Array<ArrayBuffer>;
  }
  return bodyStream(body, abort, limits.stalledReaderMs);
}

/** A direct stream: one write and flush a chunk, waiting only when the socket is full. */
function bodyStream(
  body: AsyncIterable<Uint8Array>,
  abort: AbortController,
  stalledReaderMs: number,
): ReadableStream<Uint8Array> {
  const source: Bun.DirectUnderlyingSource<Uint8Array> = {
    type: "direct",
    async pull(controller) {
      try {
        for await (const chunk of body) {
          const written: unknown = controller.write(chunk as Uint8Array<ArrayBuffer>);
          const flushed: unknown = controller.flush();
          if (written instanceof Promise || flushed instanceof Promise) {
            await readerReady(Promise.all([written, flushed]), stalledReaderMs);
          }
        }
      } catch (error) {
        // The protocols write their own errors into the body: what arrives here is the connection's.
        abort.abort(error);
      } finally {
        controller.close();
      }
    },
    cancel: (reason?: unknown) => abort.abort(reason),
  };
  // The DOM types, which win over those of Bun, do not know direct sources.
  return new ReadableStream(source as unknown as UnderlyingDefaultSource<Uint8Array>);
}
