import type { Limits } from "../../config/limits.ts";
import type { Clock } from "../../core/clock.ts";
import type { Authentication } from "../../gateway/authentication.ts";
import type { BrowserGuard } from "../../gateway/browser-guard.ts";
import type { FailedAttempts } from "../../gateway/failed-attempts.ts";
import type { Gateway } from "../../gateway/gateway.ts";
import type { Logger } from "../../metrics/logger.ts";
import type { RefusalLog } from "../../metrics/refusal-log.ts";
import type { DescriptorBound } from "../descriptor-bound.ts";
import type { Lifecycle } from "../lifecycle.ts";
import type { TurnBudget } from "../turn-budget.ts";

/** What the RPC services need of the server; HttpDeps has it all. */
export interface RpcDeps {
  readonly gateway: Gateway;
  readonly authentication: Pick<Authentication, "authenticate">;
  readonly failedAttempts: FailedAttempts;
  readonly browserGuard: BrowserGuard;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly lifecycle: Lifecycle;
  /** Shared by every API of the process. */
  readonly turns: TurnBudget;
  readonly logger: Logger;
  readonly refusals: RefusalLog;
  readonly descriptors: DescriptorBound;
}
