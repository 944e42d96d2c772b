import type { Limits } from "../config/limits.ts";
import type { Clock } from "../core/clock.ts";
import type { Authentication } from "../gateway/authentication.ts";
import type { BrowserGuard } from "../gateway/browser-guard.ts";
import type { FailedAttempts } from "../gateway/failed-attempts.ts";
import type { Gateway } from "../gateway/gateway.ts";
import type { Logger } from "../metrics/logger.ts";
import type { RefusalLog } from "../metrics/refusal-log.ts";
import type { ServerMetrics } from "../metrics/server-metrics.ts";
import type { ConnectHandler } from "./connect/create-connect-handler.ts";
import type { DescriptorBound } from "./descriptor-bound.ts";
import type { Lifecycle } from "./lifecycle.ts";
import type { TurnBudget } from "./turn-budget.ts";

/** What the HTTP server is composed of. */
export interface HttpDeps {
  readonly listen: {
    readonly host: string;
    /** 0 lets the system choose. */
    readonly port: number;
    /** The port may be shared with another server of this user: a stand-in that is about to leave it. */
    readonly reusePort?: boolean;
  };
  /** Made with the same metrics, so that requests are observed. */
  readonly gateway: Gateway;
  readonly authentication: Authentication;
  readonly failedAttempts: FailedAttempts;
  readonly browserGuard: BrowserGuard;
  readonly metrics: ServerMetrics;
  readonly clock: Clock;
  readonly version: string;
  readonly limits: Limits;
  /** Exact origins that browsers may call from, or "*"; empty: none. */
  readonly corsOrigins: readonly string[];
  readonly lifecycle: Lifecycle;
  /** Shared by every API of the process. */
  readonly turns: TurnBudget;
  readonly logger: Logger;
  /** Writes the access lines of refused requests. */
  readonly refusals: RefusalLog;
  readonly descriptors: DescriptorBound;
  /** Where native gRPC is served; undefined: nowhere. */
  readonly grpcPort?: (() => number | undefined) | undefined;
  /** Answers /scalellm.v1.*; authenticates by itself. */
  readonly connectHandler?: ConnectHandler | undefined;
}
