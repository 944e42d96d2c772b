import { jsonResponse } from "../json-response.ts";
import type { Endpoint } from "../request-handler.ts";
import { runGenerations } from "../run-generations.ts";
import { CompletionAnswer } from "./completion-answer.ts";
import { CompletionChunks } from "./completion-chunks.ts";
import { decodeCompletions } from "./decode-completions.ts";
import { streamed } from "./streamed.ts";

/** POST /v1/completions */
export const completions: Endpoint = async (context, deps) => {
  const request = await decodeCompletions(context, deps);
  const shape = { id: request.id, created: deps.clock.epochS(), model: request.model };
  if (request.stream) return streamed(context, deps, request.requests, new CompletionChunks(shape, request));
  const answer = new CompletionAnswer(shape, request);
  await runGenerations(deps.gateway, request.requests, context, (event, prompt) => answer.event(event, prompt));
  return jsonResponse(answer.json(), context, deps);
};
