import { createConnectRouter } from "@connectrpc/connect";
import { ServeError } from "../../core/errors.ts";
import { file_grpc_health_v1_health, Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { file_grpc_reflection_v1_reflection, ServerReflection } from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import {
  file_grpc_reflection_v1alpha_reflection,
  ServerReflection as ServerReflectionAlpha,
} from "../../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { file_scalellm_v1_inference, InferenceService } from "../../gen/scalellm/v1/inference_pb.ts";
import { createInferenceService } from "../connect/inference-service.ts";
import { RequestBodies } from "../connect/request-bodies.ts";
import type { RpcDeps } from "../connect/rpc-deps.ts";
import { rpcOptions } from "../connect/rpc-options.ts";
import { DescriptorIndex } from "./descriptor-index.ts";
import { dispatchCalls } from "./dispatch-calls.ts";
import { listenGrpc } from "./grpc-listener.ts";
import { createHealthService } from "./health-service.ts";
import { answerToHttp1 } from "./other-protocols.ts";
import { createReflectionServices } from "./reflection-service.ts";

export interface GrpcServer {
  readonly port: number;
  /**
   * Drains the process's lifecycle, stops listening and resolves when every connection has closed. `graceful` lets running
   * calls end; otherwise, or when called again so, they end with UNAVAILABLE at once.
   */
  close(graceful: boolean): Promise<void>;
}

/** Time for the last frames of calls that are cut to leave the process. */
const FLUSH_MS = 250;

const FILES = [
  file_scalellm_v1_inference,
  file_grpc_health_v1_health,
  file_grpc_reflection_v1_reflection,
  file_grpc_reflection_v1alpha_reflection,
];

/**
 * Native gRPC over h2c: the inference service, grpc.health.v1 (open to all) and grpc.reflection. `httpPort`: where clients
 * of other protocols are sent. Rejects when the address cannot be bound.
 */
export async function createGrpcServer(
  deps: RpcDeps,
  address: { hostname: string; port: number; httpPort?: number },
): Promise<GrpcServer> {
  const { limits, lifecycle, clock, turns } = deps;
  const closing = new AbortController();
  const handlers = createHandlers(deps, closing.signal);
  const listener = await listenGrpc({
    address,
    limits,
    clock,
    turns,
    descriptors: deps.descriptors,
    onStream: dispatchCalls(handlers, new RequestBodies(deps), deps, address.httpPort),
    otherProtocol: (received) => answerToHttp1(received, address.httpPort),
  });
  return {
    port: listener.port,
    close(graceful) {
      closing.abort();
      if (graceful) lifecycle.drain();
      else lifecycle.abort(new ServeError("unavailable", "The server is shutting down.", { reason: "shutting_down" }));
      const closed = listener.close();
      if (!graceful) setTimeout(() => listener.destroyAll(), FLUSH_MS);
      return closed;
    },
  };
}

function createHandlers(deps: RpcDeps, closing: AbortSignal) {
  const options = rpcOptions(deps, [Health.typeName]);
  const router = createConnectRouter({ ...options, connect: false, grpcWeb: false });
  const index = new DescriptorIndex(FILES);
  const reflection = createReflectionServices(index, closing);
  const health = createHealthService({
    ready: () => !deps.lifecycle.draining && deps.gateway.ready(),
    services: index.services,
    closing,
    pollMs: deps.limits.healthPollMs,
  });
  router.service(InferenceService, createInferenceService(deps));
  router.service(Health, health);
  router.service(ServerReflection, reflection.v1);
  router.service(ServerReflectionAlpha, reflection.v1alpha);
  return router.handlers;
}
