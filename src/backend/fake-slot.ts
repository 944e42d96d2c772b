import { BackendError, type SlotParams } from "./backend.ts";

/** Checks a slot's parameters as kernels/cpu/slot.cc does, in the precision of sl_slot_params. Throws BackendError. */
export function checkFakeSlot(params: SlotParams, vocabSize: number): void {
  const check = (holds: boolean, message: string) => {
    if (!holds) throw new BackendError(-1, message);
  };
  const float = Math.fround;
  const finite = (value: number) => Number.isFinite(float(value));
  check(params.topK >= 0, "top_k: negative");
  check(finite(params.temperature) && float(params.temperature) >= 0, "temperature: must be finite and not negative");
  check(float(params.topP) > 0 && float(params.topP) <= 1, "top_p: must be in (0, 1]");
  check(float(params.minP) >= 0 && float(params.minP) <= 1, "min_p: must be in [0, 1]");
  const penalty = params.repetitionPenalty;
  check(finite(penalty) && float(penalty) > 0, "repetition_penalty: must be positive");
  check(finite(params.frequencyPenalty), "frequency_penalty: must be finite");
  check(finite(params.presencePenalty), "presence_penalty: must be finite");
  check(params.minTokens >= 0, "min_tokens: negative");
  const isToken = (id: number) => id >= 0 && id < vocabSize;
  check(params.promptTokens.every(isToken), "prompt_tokens: not a token id");
  check(params.outputTokens.every(isToken), "output_tokens: not a token id");
  check(
    params.logitBias.every(([id]) => isToken(id)),
    "logit_bias_ids: not a token id",
  );
  check(Array.from(params.stopIds).every(isToken), "stop_ids: not a token id");
  check(
    params.logitBias.every(([, bias]) => !Number.isNaN(bias)),
    "logit_bias_values: NaN",
  );
}
