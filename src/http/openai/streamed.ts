import type { GenerateEvent, GenerateRequest } from "../../core/generate.ts";
import type { HttpDeps } from "../http-deps.ts";
import type { RequestContext } from "../request-context.ts";
import { runGenerations } from "../run-generations.ts";
import { sseResponse } from "../sse-response.ts";
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
        return events === "" ? undefined : send(events);
      };
      await runGenerations(gateway, requests, context, (event, prompt) => {
        return turns.spent() ? turnFor(event, turns).then(() => take(event, prompt)) : take(event, prompt);
      });
      send(`${chunks.end()}data: [DONE]\n\n`);
    },
    {
      limits,
      turns: context.turns,
      budget: turns,
      closing: () => context.release(),
      disconnected: context.request.signal,
      abort: (reason) => context.abort(reason),
    },
  );
  context.streamEnded = ended;
  return response;
}
