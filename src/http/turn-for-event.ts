import type { GenerateEvent } from "../core/generate.ts";
import type { TurnBudget } from "./turn-budget.ts";

/** Tokens of a delta that takes a turn of its own: with all alternatives about 0.5 ms to encode. */
const MANY_TOKENS = 16;

/** Resolves in a turn to encode an event in, where this turn's time is spent. */
export function turnFor(event: GenerateEvent, turns: TurnBudget): Promise<void> {
  const isLong = event.type === "text-delta" && event.tokenIds.length > MANY_TOKENS;
  return isLong ? turns.next() : turns.over();
}
