import type { FinishReason, GenerateEvent, GenerateRequest, TokenLogprob } from "../../core/generate.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import type { ResponseShape } from "./chat-chunks.ts";
import { chatLogprob, vllmPromptLogprobs } from "./logprobs.ts";
import { UsageCounter } from "./usage.ts";

interface Choice {
  text: string;
  readonly logprobs: TokenLogprob[];
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
    private readonly request: GenerateRequest,
    private readonly tokenizer: Tokenizer,
  ) {
    this.usage.prompt(request.promptTokenIds.length);
    this.choices = Array.from({ length: request.n }, () => ({
      text: "",
      logprobs: [],
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
      if (event.logprobs !== undefined) choice.logprobs.push(...event.logprobs);
    } else {
      choice.finishReason = event.finishReason;
      choice.stopReason = event.stopReason ?? null;
    }
  }

  toJSON() {
    const { tokenizer, promptLogprobs } = this;
    return {
      id: this.shape.id,
      object: "chat.completion",
      created: this.shape.created,
      model: this.shape.model,
      choices: this.choices.map((choice, index) => ({
        index,
        message: { role: "assistant", content: choice.text, refusal: null },
        logprobs:
          this.request.sampling.logprobs === undefined
            ? null
            : { content: choice.logprobs.map((entry) => chatLogprob(tokenizer, entry)), refusal: null },
        finish_reason: choice.finishReason,
        // vLLM's addition: the stop string or token that ended it.
        stop_reason: choice.stopReason,
      })),
      usage: this.usage,
      ...(promptLogprobs === undefined ? {} : { prompt_logprobs: vllmPromptLogprobs(tokenizer, promptLogprobs) }),
    };
  }
}
