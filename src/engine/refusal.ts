import { STATUS } from "../backend/abi.ts";
import { BackendError } from "../backend/backend.ts";
import type { RefusalReason, RequestRefused } from "./messages.ts";

const REASONS: Readonly<Record<number, RefusalReason>> = { [STATUS.argument]: "invalid", [STATUS.memory]: "memory" };

/**
 * What work for one sequence alone failed with, as a refusal of that sequence; undefined for a BackendError that means
 * trouble for all. The backend's messages begin with the name of the field: "top_p: must be in (0, 1]".
 */
export function refusalOf(id: number, error: unknown): RequestRefused | undefined {
  if (!(error instanceof BackendError)) {
    return { type: "refused", id, reason: "internal", field: "", message: String(error) };
  }
  const reason = REASONS[error.status];
  if (reason === undefined) return undefined;
  const [, field = "", message = error.message] = /^([a-z_]+): (.*)$/s.exec(error.message) ?? [];
  return { type: "refused", id, reason, field, message };
}
