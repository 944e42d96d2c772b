import { toServeError } from "../core/errors.ts";
import type { GenerateEvent, GenerateRequest } from "../core/generate.ts";
import type { Gateway } from "../gateway/gateway.ts";
import type { RequestContext } from "./request-context.ts";

/** Takes an event of the prompt with this position; a promise holds that prompt's events back until it resolves. */
export type OnEvent = (event: GenerateEvent, prompt: number) => Promise<void> | undefined;

/**
 * Runs the prompts of one HTTP request side by side. Resolves when all have ended; the first failure ends the others and
 * is thrown. When the request's signal aborts, its reason is thrown and everything is freed.
 */
export async function runGenerations(
  gateway: Gateway,
  requests: readonly GenerateRequest[],
  context: RequestContext,
  onEvent: OnEvent,
): Promise<void> {
  const { signal } = context;
  const run = async (request: GenerateRequest, prompt: number) => {
    for await (const event of gateway.generate(request, signal)) {
      context.pace.event(event);
      const held = onEvent(event, prompt);
      if (held !== undefined) await held;
    }
  };
  try {
    signal.throwIfAborted();
    if (requests.length === 1) return await run(requests[0]!, 0);
    await Promise.all(requests.map(run));
  } catch (error) {
    // An abort comes back as whatever the replica makes of it; its cause is what the client should know.
    const cause = signal.aborted ? signal.reason : error;
    context.abort(toServeError(cause));
    throw cause;
  }
}
