import type { GenerateRequest } from "../../src/core/generate.ts";
import { DEFAULT_SAMPLING } from "../../src/core/sampling-params.ts";

/** A request for exactly `outputTokens` tokens, straight to a replica. */
export function tokenRequest(id: string, promptTokenIds: Int32Array, outputTokens: number): GenerateRequest {
  return {
    id,
    model: "bench",
    promptTokenIds,
    promptText: undefined,
    n: 1,
    sampling: { ...DEFAULT_SAMPLING, maxTokens: outputTokens, ignoreEos: true },
    priority: 0,
    tenant: "",
    deadlineMs: undefined,
    resume: undefined,
  };
}
