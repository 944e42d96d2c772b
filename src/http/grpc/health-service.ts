import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { type Health, HealthCheckResponse_ServingStatus as Status } from "../../gen/grpc/health/v1/health_pb.ts";
import { delayUntilAborted } from "./until-aborted.ts";

export interface HealthOptions {
  /** Whether requests can be answered now. */
  readonly ready: () => boolean;
  /** Fully qualified names whose status is asked for by name; "" is the server's own. */
  readonly services: readonly string[];
  /** Aborts when the server closes: watchers learn of it, and are sent away. */
  readonly closing: AbortSignal;
  readonly pollMs: number;
}

/** grpc.health.v1.Health. A service is SERVING while the gateway is ready and the server is not closing. */
export function createHealthService(options: HealthOptions): ServiceImpl<typeof Health> {
  const { ready, services, closing, pollMs } = options;
  const known = new Set(["", ...services]);
  const overall = (): Status => (!closing.aborted && ready() ? Status.SERVING : Status.NOT_SERVING);
  return {
    check({ service }) {
      if (!known.has(service)) throw new ConnectError(`unknown service ${service}`, Code.NotFound);
      return { status: overall() };
    },
    list() {
      const status = overall();
      return { statuses: Object.fromEntries([...known].map((name) => [name, { status }])) };
    },
    async *watch({ service }, context) {
      const wake = AbortSignal.any([context.signal, closing]);
      let last: Status | undefined;
      while (!context.signal.aborted) {
        const status = known.has(service) ? overall() : Status.SERVICE_UNKNOWN;
        if (status !== last) yield { status };
        last = status;
        if (closing.aborted) throw new ConnectError("the server is shutting down", Code.Unavailable);
        await delayUntilAborted(pollMs, wake);
      }
    },
  };
}
