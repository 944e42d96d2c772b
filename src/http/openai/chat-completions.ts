import type { GenerateRequest } from "../../core/generate.ts";
import type { ServedModel } from "../../gateway/gateway.ts";
import { Fields, invalidField } from "../fields.ts";
import type { HttpDeps } from "../http-deps.ts";
import { jsonResponse } from "../json-response.ts";
import { prepareRequest } from "../prepare-request.ts";
import { readJsonObject } from "../read-json.ts";
import { type RequestContext, uniqueId } from "../request-context.ts";
import { requestDeadlineMs } from "../request-deadline.ts";
import type { Endpoint } from "../request-handler.ts";
import { runGenerations } from "../run-generations.ts";
import { ChatAnswer } from "./chat-answer.ts";
import { ChatChunks } from "./chat-chunks.ts";
import { decodeMessages } from "./decode-messages.ts";
import { decodeSampling, decodeStreamOptions, named, type StreamOptions } from "./decode-sampling.ts";
import { refuseUnsupported } from "./refuse-unsupported.ts";
import { decodeRenderOptions } from "./render-options.ts";
import { streamed } from "./streamed.ts";

export interface ChatRequest extends StreamOptions {
  readonly model: ServedModel;
  readonly request: GenerateRequest;
  /** As in vLLM: the answer tells the ids of the prompt, and each choice those of its output. */
  readonly returnTokenIds: boolean;
}

/** POST /v1/chat/completions */
export const chatCompletions: Endpoint = async (context, deps) => {
  const chat = await decodeChat(context, deps);
  const { model, request } = chat;
  const shape = { id: request.id, created: deps.clock.epochS(), model };
  if (chat.stream) return streamed(context, deps, [request], new ChatChunks(shape, chat));
  const answer = new ChatAnswer(shape, chat);
  await runGenerations(deps.gateway, [request], context, (event) => answer.event(event));
  return jsonResponse(answer.json(), context, deps);
};

/** Names the range checks report that this endpoint spells differently. */
const PARAMS = { prompt: "messages", logprobs: "top_logprobs" };

async function decodeChat(context: RequestContext, deps: HttpDeps): Promise<ChatRequest> {
  const fields = new Fields(await readJsonObject(context, deps));
  const model = deps.gateway.model(fields.requiredString("model"));
  const messages = decodeMessages(fields, deps.limits);
  refuseUnsupported(fields, "chat");
  const maxCompletionTokens = fields.integer("max_completion_tokens");
  const draft = {
    id: uniqueId("chatcmpl-"),
    tenant: context.tenant,
    n: fields.integer("n"),
    sampling: {
      ...decodeSampling(fields),
      ...named({ maxTokens: maxCompletionTokens ?? fields.integer("max_tokens"), logprobs: decodeLogprobs(fields) }),
    },
    priority: fields.integer("priority"),
    deadlineMs: requestDeadlineMs(context.arrivedMs, deps.limits),
    params: maxCompletionTokens === undefined ? PARAMS : { ...PARAMS, maxTokens: "max_completion_tokens" },
  };
  const streamOptions = decodeStreamOptions(fields);
  const returnTokenIds = fields.boolean("return_token_ids") ?? false;
  const render = decodeRenderOptions(fields);
  if (!model.text.hasChatTemplate) {
    const message = `The model '${model.name}' has no chat template; use /v1/completions.`;
    throw invalidField("messages", message, "no_chat_template");
  }
  const { text, ids } = await model.text.encodeChat(messages, render, context.signal, context.tenant);
  const request = prepareRequest({ ...draft, promptTokenIds: ids, promptText: text }, model);
  Object.assign(context.logged, { model: model.name, id: request.id, promptTokens: ids.length });
  return { model, request, returnTokenIds, ...streamOptions };
}

/** `logprobs: true` gives the chosen tokens', `top_logprobs` the alternatives too. */
function decodeLogprobs(fields: Fields): number | undefined {
  const wanted = fields.boolean("logprobs") ?? false;
  const top = fields.integer("top_logprobs");
  if (top !== undefined && top !== 0 && !wanted) {
    throw invalidField("top_logprobs", "'top_logprobs' is only allowed when 'logprobs' is true.", "invalid_value");
  }
  return wanted ? (top ?? 0) : undefined;
}
