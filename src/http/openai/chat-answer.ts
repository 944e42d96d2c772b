import type { FinishReason, GenerateEvent, TokenLogprob } from "../../core/generate.ts";
import type { ChatRequest } from "./chat-completions.ts";
import { chatLogprob, jsonList, vllmPromptLogprobJson } from "./logprobs.ts";
import { envelope, type ResponseShape } from "./response-shape.ts";
import { UsageCounter } from "./usage.ts";

interface Choice {
  text: string;
  readonly logprobs: TokenLogprob[];
  readonly tokenIds: number[];
  finishReason: FinishReason | null;
  stopReason: string | number | null;
}

/** A `chat.completion` object, gathered from the events. */
export class ChatAnswer {
  readonly usage = new UsageCounter();
  private readonly choices: Choice[];
  private promptLogprobs: ReadonlyArray<TokenLogprob | null> | undefined;

  constructor(
    private readonly shape: ResponseShape,
    private readonly chat: Pick<ChatRequest, "model" | "request" | "returnTokenIds">,
  ) {
    const { request } = chat;
    this.usage.prompt(request.promptTokenIds.length);
    this.choices = Array.from({ length: request.n }, () => ({
      text: "",
      logprobs: [],
      tokenIds: [],
      finishReason: null,
      stopReason: null,
    }));
  }

  event(event: GenerateEvent): undefined {
    this.usage.event(event);
    if (event.type === "prompt") {
      this.promptLogprobs = event.promptLogprobs;
      return;
    }
    const choice = this.choices[event.index]!;
    if (event.type === "text-delta") {
      choice.text += event.text;
      for (const entry of event.logprobs ?? []) choice.logprobs.push(entry);
      if (this.chat.returnTokenIds) for (const id of event.tokenIds) choice.tokenIds.push(id);
    } else {
      choice.finishReason = event.finishReason;
      choice.stopReason = event.stopReason ?? null;
    }
  }

  /** The pieces of its text. */
  *json(): Generator<string> {
    const { promptLogprobs, chat } = this;
    const { tokenizer } = chat.model.text;
    yield `${envelope("chat.completion", this.shape)},"choices":[`;
    for (const [index, choice] of this.choices.entries()) {
      if (index > 0) yield ",";
      yield* this.choiceJson(index, choice);
    }
    yield `],"usage":${JSON.stringify(this.usage)}`;
    if (promptLogprobs !== undefined) {
      yield ',"prompt_logprobs":';
      yield* jsonList(promptLogprobs, (entry) => vllmPromptLogprobJson(tokenizer, entry));
    }
    if (chat.returnTokenIds) {
      yield ',"prompt_token_ids":';
      yield* jsonList(chat.request.promptTokenIds, String);
    }
    yield "}";
  }

  private *choiceJson(index: number, choice: Choice): Generator<string> {
    const content = JSON.stringify(choice.text);
    yield `{"index":${index},"message":{"role":"assistant","content":${content},"refusal":null},"logprobs":`;
    const { model, request } = this.chat;
    if (request.sampling.logprobs === undefined) {
      yield "null";
    } else {
      yield '{"content":';
      yield* jsonList(choice.logprobs, (entry) => JSON.stringify(chatLogprob(model.text.tokenizer, entry)));
      yield ',"refusal":null}';
    }
    // What was found to end it is vLLM's addition.
    yield `,"finish_reason":${JSON.stringify(choice.finishReason)},"stop_reason":${JSON.stringify(choice.stopReason)}`;
    if (this.chat.returnTokenIds) {
      yield ',"token_ids":';
      yield* jsonList(choice.tokenIds, String);
    }
    yield "}";
  }
}
