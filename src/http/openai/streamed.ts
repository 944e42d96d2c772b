import type { GenerateEvent, GenerateRequest } from "../../core/generate.ts";
import type { HttpDeps } from "../http-deps.ts";
import type { RequestContext } from "../request-context.ts";
import { runGenerations } from "../run-generations.ts";
import { sseResponse } from "../sse-response.ts";
import type { TurnBudget } from "../turn-budget.ts";
import { turnFor } from "../turn-for-event.ts";
import type { UsageCounter } from "./usage.ts";

/** Turns events into an endpoint's chunks. */
export interface ChunkEncoder {
  readonly usage: UsageCounter;
  /** Whole SSE events for one event of a prompt; "" for none. In pieces where they may be long. */
  event(event: GenerateEvent, prompt: number): string | Iterable<string>;
  /** What follows the last choice. */
  end(): string;
}

/** Pieces of text as one, in as many turns as it takes. */
async function joined(pieces: Iterable<string>, turns: TurnBudget, signal: AbortSignal): Promise<string> {
  let text = "";
  for (const piece of pieces) {
    text += piece;
    if (!turns.spent()) continue;
    await turns.next();
    signal.throwIfAborted();
  }
  return text;
}

/** Runs the requests and streams their chunks. Throws what fails before the first of them. */
export async function streamed(
  context: RequestContext,
  { gateway, limits, turns }: HttpDeps,
  requests: readonly GenerateRequest[],
  chunks: ChunkEncoder,
): Promise<Response> {
  const { response, ended } = await sseResponse(
    async (send) => {
      const take = (event: GenerateEvent, prompt: number) => {
        const events = chunks.event(event, prompt);
        if (typeof events !== "string") return joined(events, turns, context.signal).then(send);
        return events === "" ? undefined : send(events);
      };
      await runGenerations(gateway, requests, context, (event, prompt) => {
        return turns.spent() ? turnFor(event, turns).then(() => take(event, prompt)) : take(event, prompt);
      });
      context.logged.outputTokens = chunks.usage.toJSON().completion_tokens;
      send(`${chunks.end()}data: [DONE]\n\n`);
    },
    {
      limits,
      turns: context.turns,
      closing: () => context.release(),
      disconnected: context.request.signal,
      abort: (reason) => context.abort(reason),
    },
  );
  context.streamEnded = ended;
  return response;
}
