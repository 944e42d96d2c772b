import type { RequestRecord } from "../../src/bench/types.ts";

/** A finished request; name what matters to the test. */
export function makeRecord(fields: Partial<RequestRecord>): RequestRecord {
  return {
    endpoint: "a",
    cell: 0,
    session: 0,
    turn: 0,
    scheduledMs: 0,
    sentMs: 0,
    endMs: 30,
    chunkMs: [10, 20, 30],
    promptTokens: 5,
    outputTokens: 3,
    outputTokensFrom: "usage",
    maxTokens: 3,
    error: undefined,
    ...fields,
  };
}
