import type { GenerateEvent, GenerateRequest } from "../../core/generate.ts";
import type { HttpDeps } from "../http-deps.ts";
import type { RequestContext } from "../request-context.ts";
import { runGenerations } from "../run-generations.ts";
import { sseResponse } from "../sse-response.ts";
import type { UsageCounter } from "./usage.ts";

/** Turns events into an endpoint's chunks. */
export interface ChunkEncoder {
  readonly usage: UsageCounter;
  /** Whole SSE events for one event of a prompt; "" for none. */
  event(event: GenerateEvent, prompt: number): string;
  /** What follows the last choice. */
  end(): string;
}

/** Runs the requests and streams their chunks. Throws what fails before the first of them. */
export async function streamed(
  context: RequestContext,
  { gateway, limits }: HttpDeps,
  requests: readonly GenerateRequest[],
  chunks: ChunkEncoder,
): Promise<Response> {
  const { response, ended } = await sseResponse(
    async (send) => {
      await runGenerations(gateway, requests, context, (event, prompt) => {
        const text = chunks.event(event, prompt);
        return text === "" ? undefined : send(text);
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
