import { SL_SLOT_PARAMS } from "./abi.ts";
import { AddressBook } from "./address-book.ts";
import type { SlotParams } from "./backend.ts";
import { writeStruct } from "./struct-layout.ts";

/** Encodes SlotParams as sl_slot_params; one buffer serves every call, since the library copies what it keeps. */
export class SlotWriter {
  readonly #view = new DataView(new ArrayBuffer(SL_SLOT_PARAMS.size));
  readonly #book = new AddressBook();

  /** The result and what it points to are valid until release(). */
  write(params: SlotParams): ArrayBufferView {
    const book = this.#book;
    const biasIds = Int32Array.from(params.logitBias, ([id]) => id);
    const biasValues = Float32Array.from(params.logitBias, ([, bias]) => bias);
    const stopIds = Int32Array.from(params.stopIds);
    writeStruct(SL_SLOT_PARAMS, this.#view, 0, {
      struct_bytes: SL_SLOT_PARAMS.size,
      top_k: params.topK,
      temperature: params.temperature,
      top_p: params.topP,
      min_p: params.minP,
      repetition_penalty: params.repetitionPenalty,
      frequency_penalty: params.frequencyPenalty,
      presence_penalty: params.presencePenalty,
      // Negative seeds are allowed in requests: two's complement.
      seed: BigInt(params.seed),
      num_prompt_tokens: params.promptTokens.length,
      num_output_tokens: params.outputTokens.length,
      num_logit_bias: biasIds.length,
      min_tokens: params.minTokens,
      num_stop_ids: stopIds.length,
      prompt_tokens: book.add(params.promptTokens),
      output_tokens: book.add(params.outputTokens),
      logit_bias_ids: book.add(biasIds),
      logit_bias_values: book.add(biasValues),
      stop_ids: book.add(stopIds),
    });
    return this.#view;
  }

  release(): void {
    this.#book.release();
  }
}
