import type { ConnectError, HandlerContext } from "@connectrpc/connect";
import { ServeError } from "../../core/errors.ts";
import { AnswerPace } from "../answer-pace.ts";
import { CALL_ORIGIN } from "./call-context.ts";
import { callError, toConnectError } from "./connect-errors.ts";
import { logCall } from "./log-call.ts";
import type { RpcDeps } from "./rpc-deps.ts";

export interface ObservedCall {
  /** To be shown every event of an answer. */
  readonly pace: AnswerPace;
  /** Notes how a call failed, and returns the error to answer with. */
  failed(error: unknown): ConnectError;
  /**
   * To be called at the call's end, whatever that was: counts it and writes its access log line. `whole`: the implementation
   * came to its end; one that was left early without an error of its own ends with the reason of the call's signal.
   * `unsent`: the error that kept its answer from being sent whole.
   */
  end(whole: boolean, unsent?: unknown): void;
}

/** Follows one call from here to its end, for the lifecycle (a graceful stop waits for it) and the access log. */
export function observeCall(context: HandlerContext, deps: RpcDeps): ObservedCall {
  const { clock, lifecycle } = deps;
  const finish = lifecycle.begin();
  const startedMs = clock.nowMs();
  const origin = context.values.get(CALL_ORIGIN);
  if (origin !== undefined) origin.accessLogged = true;
  const pace = new AnswerPace(clock, startedMs);
  let failure: ConnectError | undefined;
  return {
    pace,
    failed(error) {
      failure = callError(error, context.signal);
      return failure;
    },
    end(whole, unsent) {
      finish();
      if (unsent !== undefined) failure ??= toConnectError(unsent);
      if (!whole) failure ??= callError(new ServeError("cancelled", "The client went away."), context.signal);
      logCall(context, deps, { failure, ms: clock.nowMs() - startedMs, pace });
    },
  };
}
