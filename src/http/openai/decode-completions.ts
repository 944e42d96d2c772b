import type { GenerateRequest } from "../../core/generate.ts";
import type { ServedModel } from "../../gateway/gateway.ts";
import { Fields, invalidField } from "../fields.ts";
import type { HttpDeps } from "../http-deps.ts";
import { prepareRequest } from "../prepare-request.ts";
import { readJsonObject } from "../read-json.ts";
import { type RequestContext, uniqueId } from "../request-context.ts";
import { requestDeadlineMs } from "../request-deadline.ts";
import { decodePrompts } from "./decode-prompts.ts";
import { decodeSampling, decodeStreamOptions, named, type StreamOptions } from "./decode-sampling.ts";
import { type EchoedPrompt, echoOfIds, echoOfText } from "./echoed-prompt.ts";
import { refuseUnsupported } from "./refuse-unsupported.ts";

/** OpenAI's for this endpoint; chat has none. */
const DEFAULT_MAX_TOKENS = 16;
const NO_TOKENS = new Int32Array(0);

export interface CompletionsRequest extends StreamOptions {
  readonly id: string;
  readonly model: ServedModel;
  readonly requests: readonly GenerateRequest[];
  /** One a prompt; undefined without `echo`. */
  readonly echo: readonly EchoedPrompt[] | undefined;
  /** `echo` with max_tokens 0: score the prompt only. One token is generated, and not shown. */
  readonly promptOnly: boolean;
  /** As in vLLM: each choice tells the ids of its prompt and of its output. */
  readonly returnTokenIds: boolean;
  /** As asked by `prompt_logprobs`; `echo` with `logprobs` needs them too, in another shape. */
  readonly showPromptLogprobs: boolean;
}

/** Reads, tokenises and checks a completions request. Throws ServeError. */
export async function decodeCompletions(context: RequestContext, deps: HttpDeps): Promise<CompletionsRequest> {
  const fields = new Fields(await readJsonObject(context, deps));
  const model = deps.gateway.model(fields.requiredString("model"));
  const prompts = decodePrompts(fields, deps.limits, model.maxModelLen);
  refuseUnsupported(fields, "completions");
  const n = fields.integer("n");
  if (prompts.length * (n ?? 1) > deps.limits.maxChoicesPerRequest) {
    const message = `At most ${deps.limits.maxChoicesPerRequest} choices (prompts times n) are allowed in a request.`;
    throw invalidField("n", message, "invalid_value");
  }
  const echo = fields.boolean("echo") ?? false;
  const logprobs = fields.integer("logprobs");
  const shared = decodeSampling(fields);
  // A default gives way to what the request does name.
  const maxCompletionTokens = fields.integer("max_completion_tokens");
  const maxTokens =
    maxCompletionTokens ??
    fields.integer("max_tokens") ??
    Math.max(DEFAULT_MAX_TOKENS, Math.min(shared.minTokens ?? 0, 2 ** 31 - 1));
  const promptOnly = echo && maxTokens === 0;
  const sampling = {
    ...shared,
    maxTokens: promptOnly ? 1 : maxTokens,
    ...named({ logprobs, promptLogprobs: shared.promptLogprobs ?? (echo ? logprobs : undefined) }),
  };
  const streamOptions = decodeStreamOptions(fields);
  const returnTokenIds = fields.boolean("return_token_ids") ?? false;
  const priority = fields.integer("priority");
  const addSpecialTokens = fields.boolean("add_special_tokens") ?? true;

  const id = uniqueId("cmpl-");
  const requests: GenerateRequest[] = [];
  const echoed: EchoedPrompt[] = [];
  for (const [i, prompt] of prompts.entries()) {
    // Short prompts are tokenised, and echoed ids decoded, on the event loop: up to 1 ms each.
    if (deps.turns.spent()) await deps.turns.next();
    const ids = prompt.ids ?? (await model.text.encode(prompt.text!, addSpecialTokens, context.signal, context.tenant));
    const draft = {
      id: prompts.length === 1 ? id : `${id}-${i}`,
      tenant: context.tenant,
      promptTokenIds: ids,
      promptText: prompt.text,
      n,
      sampling,
      priority,
      deadlineMs: requestDeadlineMs(context.arrivedMs, deps.limits),
      // One reader has them all.
      maxWaitingBytes: Math.floor(deps.limits.maxWaitingOutputBytes / prompts.length),
      // The chat API's name for the same is as clear here.
      params: {
        prompt: prompt.param,
        ...(maxCompletionTokens === undefined ? {} : { maxTokens: "max_completion_tokens" }),
      },
    };
    requests.push(prepareRequest(draft, model));
    if (!echo) continue;
    const { tokenizer } = model.text;
    if (prompt.text === undefined) echoed.push(echoOfIds(tokenizer, ids, sampling.skipSpecialTokens ?? true));
    else if (logprobs === undefined) echoed.push({ text: prompt.text, ids, characters: NO_TOKENS });
    else echoed.push(echoOfText(tokenizer, ids, prompt.text));
  }
  const promptTokens = requests.reduce((sum, request) => sum + request.promptTokenIds.length, 0);
  Object.assign(context.logged, { model: model.name, id, promptTokens });
  return {
    ...streamOptions,
    id,
    model,
    requests,
    echo: echo ? echoed : undefined,
    promptOnly,
    returnTokenIds,
    showPromptLogprobs: shared.promptLogprobs !== undefined,
  };
}
