import { createConnectRouter, createContextValues } from "@connectrpc/connect";
import {
  readAllBytes,
  type UniversalHandler,
  type UniversalServerResponse,
  universalServerRequestFromFetch,
} from "@connectrpc/connect/protocol";
import type { Limits } from "../../config/limits.ts";
import { InferenceService } from "../../gen/scalellm/v1/inference_pb.ts";
import { declaredLength } from "../body-limit.ts";
import { localUrl, requestPath } from "../request-path.ts";
import { ResponseBody } from "../response-body.ts";
import { bodyWithin } from "./body-deadline.ts";
import { CALL_ORIGIN, type CallOrigin } from "./call-context.ts";
import { withCappedTimeout } from "./capped-timeout.ts";
import { FRAME_SINK, takesFrames } from "./frame-sink.ts";
import { createInferenceService } from "./inference-service.ts";
import { PREPARED_ANSWER, PreparedAnswer } from "./prepared-answer.ts";
import { RequestBodies } from "./request-bodies.ts";
import type { RpcDeps } from "./rpc-deps.ts";
import { rpcOptions } from "./rpc-options.ts";
import { illFormed, tidyErrors, withShortHeaders } from "./tidy-errors.ts";

/** Connect's status for DEADLINE_EXCEEDED, and the one for a body that never arrives. */
const STATUS_DEADLINE_EXCEEDED = 504;
const STATUS_BODY_TIMEOUT = 408;

/** Answers a service's request; undefined for every path that is none of the services'. */
export type ConnectHandler = (request: Request, origin?: CallOrigin) => Promise<Response> | undefined;

/**
 * Connect and gRPC-Web for a fetch server. Native gRPC is refused here (415): its status travels in HTTP trailers, which a
 * fetch Response does not have; grpc-server.ts serves it on a port of its own.
 */
export function createConnectHandler(deps: RpcDeps): ConnectHandler {
  const router = createConnectRouter({ ...rpcOptions(deps), grpc: false });
  router.service(InferenceService, createInferenceService(deps));
  return serveConnect(router.handlers, deps);
}

/** Serves the methods of any services over Connect and gRPC-Web. */
export function serveConnect(
  methods: readonly UniversalHandler[],
  deps: Omit<RpcDeps, "authentication">,
): ConnectHandler {
  const handlers = new Map(methods.map((handler) => [handler.requestPath, handler]));
  const prefixes = [...new Set(methods.map((handler) => `/${handler.service.typeName}/`))];
  const bodies = new RequestBodies(deps);
  return (request, origin) => {
    const path = requestPath(request);
    const handler = handlers.get(path);
    if (handler !== undefined) return answer(handler, request, origin, deps.limits, bodies);
    const isOurs = prefixes.some((prefix) => path.startsWith(prefix));
    return isOurs ? Promise.resolve(new Response(null, { status: 404 })) : undefined;
  };
}

async function answer(
  handler: UniversalHandler,
  request: Request,
  origin: CallOrigin | undefined,
  limits: Limits,
  bodies: RequestBodies,
): Promise<Response> {
  const body = new ResponseBody(limits.stalledReaderMs, () => origin?.release());
  const prepared = new PreparedAnswer(body.ended);
  // This or the body's own cancel tells of a client that went away; which one fires first depends on what the server is doing.
  if (request.signal.aborted) body.drop();
  request.signal.addEventListener("abort", () => body.drop(), { once: true });
  let late = false;
  const onLate = () => {
    late = true;
  };
  const requestBody = bodyWithin(readBody(request, limits, origin), limits.bodyDeadlineMs, onLate);
  const headers = withCappedTimeout(withShortHeaders(request.headers), limits.maxRpcTimeoutMs);
  const answered = handler({
    httpVersion: "",
    method: request.method,
    url: localUrl(request),
    ...bodies.check(handler.method, headers, requestBody),
    signal: body.signal,
    contextValues: createContextValues()
      .set(FRAME_SINK, takesFrames(request.headers) ? body : undefined)
      .set(CALL_ORIGIN, origin)
      .set(PREPARED_ANSWER, prepared),
  });
  const response = tidyErrors(await answered.catch(illFormed));
  return new Response(await contentOf(response, body, origin, limits, prepared), {
    // Connect's own 504 is for deadlines of the call.
    status: late && response.status === STATUS_DEADLINE_EXCEEDED ? STATUS_BODY_TIMEOUT : response.status,
    ...(response.header === undefined ? {} : { headers: response.header }),
  });
}

async function* readBody(
  request: Request,
  { maxBodyBytes }: Limits,
  origin: CallOrigin | undefined,
): AsyncGenerator<Uint8Array> {
  const declared = declaredLength(request.headers);
  if (declared !== undefined && declared <= maxBodyBytes) {
    const bytes = await request.bytes();
    if (origin !== undefined) origin.bodyPending = false;
    yield bytes;
    return;
  }
  yield* universalServerRequestFromFetch(request, {}).body as AsyncIterable<Uint8Array>;
  if (origin !== undefined) origin.bodyPending = false;
}

/** A body of known length goes out whole; anything else is a stream. */
async function contentOf(
  { body, header, status }: UniversalServerResponse,
  stream: ResponseBody,
  origin: CallOrigin | undefined,
  limits: Limits,
  prepared: PreparedAnswer,
) {
  if (body === undefined) return null;
  if (status !== 200 || header?.has("content-length")) {
    const blocks = prepared.take();
    if (blocks !== undefined) {
      // The length of what it stands for.
      header?.delete("content-length");
      if (origin !== undefined) origin.streamEnded = stream.ended;
      return stream.of(blocks);
    }
    return (await readAllBytes(body, limits.maxRpcResponseBytes)) as Uint8Array<ArrayBuffer>;
  }
  if (origin !== undefined) origin.streamEnded = stream.ended;
  return stream.of(body, prepared.framesFor);
}
