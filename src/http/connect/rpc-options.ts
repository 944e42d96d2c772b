import type { ConnectRouterOptions, HandlerContext } from "@connectrpc/connect";
import { blameClient } from "./blame-client.ts";
import { urlGzip } from "./inflate.ts";
import { jsonDecoder } from "./json-decoder.ts";
import { createRequestGate } from "./request-gate.ts";
import type { RpcDeps } from "./rpc-deps.ts";

/** How messages are written as JSON. */
export const JSON_WRITE_OPTIONS = { alwaysEmitImplicit: true, useProtoFieldName: true };

/**
 * Gate, bounds and codecs of every RPC. Services named in `open` need no key. What reaches Connect has been
 * checked by RequestBodies; readMaxBytes is the last resort. gzip only: brotli's default quality costs 100x its CPU.
 */
export function rpcOptions(deps: RpcDeps, open: readonly string[] = []) {
  const gate = createRequestGate(deps, open);
  return {
    async requestGate(context: HandlerContext) {
      await gate(context);
      blameClient(context);
    },
    shutdownSignal: deps.lifecycle.stopSignal,
    readMaxBytes: deps.limits.maxBodyBytes,
    writeMaxBytes: deps.limits.maxRpcResponseBytes,
    maxTimeoutMs: deps.limits.maxRpcTimeoutMs,
    acceptCompression: [urlGzip(deps.limits.maxInflatedUrlBytes)],
    jsonOptions: {
      ignoreUnknownFields: true,
      ...JSON_WRITE_OPTIONS,
      // Read by Connect, though its types do not say so.
      ...{ textDecoder: jsonDecoder(deps.limits) },
    },
  } satisfies ConnectRouterOptions;
}
