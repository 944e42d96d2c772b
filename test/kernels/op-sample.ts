/** sl_op_sample with the parameters of the engine's slots. */
import type { SlotParams } from "../../src/backend/backend.ts";
import { check, Struct, sl } from "./native-library.ts";

export interface Sampled {
  token: number;
  rank: number;
  logprob: number;
  topIds: Int32Array;
  topLogprobs: Float32Array;
}

export function slotStruct(p: SlotParams): Struct {
  return new Struct("sl_slot_params", {
    top_k: p.topK,
    temperature: p.temperature,
    top_p: p.topP,
    min_p: p.minP,
    repetition_penalty: p.repetitionPenalty,
    frequency_penalty: p.frequencyPenalty,
    presence_penalty: p.presencePenalty,
    seed: p.seed,
    num_prompt_tokens: p.promptTokens.length,
    num_output_tokens: p.outputTokens.length,
    num_logit_bias: p.logitBias.length,
    min_tokens: p.minTokens,
    num_stop_ids: p.stopIds.length,
    prompt_tokens: p.promptTokens,
    output_tokens: p.outputTokens,
    logit_bias_ids: Int32Array.from(p.logitBias, ([id]) => id),
    logit_bias_values: Float32Array.from(p.logitBias, ([, value]) => value),
    stop_ids: Int32Array.from(p.stopIds),
  });
}

/** `top`: how many top logprobs; -1 none at all. */
export function opSample(logits: Float32Array, p: SlotParams, position: number, top = -1): Sampled {
  const params = slotStruct(p);
  const token = new Int32Array(1);
  const rank = new Int32Array(1);
  const logprob = new Float32Array(1);
  const topIds = new Int32Array(Math.max(top, 0));
  const topLogprobs = new Float32Array(Math.max(top, 0));
  const args = new Struct("sl_op_sample_args", {
    vocab_size: logits.length,
    top,
    output_position: position,
    params: params.bytes,
    logits,
    token_id: token,
    rank,
    logprob,
    top_ids: topIds,
    top_logprobs: topLogprobs,
  });
  check(sl.sl_op_sample(args.bytes));
  return { token: token[0]!, rank: rank[0]!, logprob: logprob[0]!, topIds, topLogprobs };
}
