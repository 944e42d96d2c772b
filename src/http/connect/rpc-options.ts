import type { ConnectRouterOptions, HandlerContext } from "@connectrpc/connect";
import { compressionGzip } from "@connectrpc/connect-node";
import type { Limits } from "../../config/limits.ts";

/**
 * Bounds and codecs of every RPC. Decompressed messages count against readMaxBytes too. gzip only: brotli's default
 * quality costs 100x its CPU.
 */
export function rpcOptions(limits: Limits, requestGate: (context: HandlerContext) => void, shutdown?: AbortSignal) {
  return {
    requestGate,
    readMaxBytes: limits.maxBodyBytes,
    writeMaxBytes: limits.maxRpcResponseBytes,
    maxTimeoutMs: limits.maxRpcTimeoutMs,
    acceptCompression: [compressionGzip],
    jsonOptions: { ignoreUnknownFields: true, alwaysEmitImplicit: true, useProtoFieldName: true },
    ...(shutdown === undefined ? {} : { shutdownSignal: shutdown }),
  } satisfies ConnectRouterOptions;
}
