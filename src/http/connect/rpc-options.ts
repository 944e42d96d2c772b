import type { ConnectRouterOptions } from "@connectrpc/connect";
import { compressionGzip } from "@connectrpc/connect-node";
import { createRequestGate } from "./request-gate.ts";
import type { RpcDeps } from "./rpc-deps.ts";

/**
 * Gate, bounds and codecs of every RPC. Services named in `open` need no key. Decompressed messages count against
 * readMaxBytes too. gzip only: brotli's default quality costs 100x its CPU.
 */
export function rpcOptions(deps: RpcDeps, open: readonly string[] = []) {
  return {
    requestGate: createRequestGate(deps, open),
    shutdownSignal: deps.lifecycle.stopSignal,
    readMaxBytes: deps.limits.maxBodyBytes,
    writeMaxBytes: deps.limits.maxRpcResponseBytes,
    maxTimeoutMs: deps.limits.maxRpcTimeoutMs,
    acceptCompression: [compressionGzip],
    jsonOptions: { ignoreUnknownFields: true, alwaysEmitImplicit: true, useProtoFieldName: true },
  } satisfies ConnectRouterOptions;
}
