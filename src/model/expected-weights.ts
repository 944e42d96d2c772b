import type { ModelConfig } from "./model-config.ts";
import type { WeightRole } from "./spec.ts";

/** A weight that the forward pass needs, with the shape its role implies. */
export interface ExpectedWeight {
  readonly role: WeightRole;
  /** -1 where the role is not per layer, per expert. */
  readonly layer: number;
  readonly expert: number;
  /** [cols] for vectors, else [rows, cols]. */
  readonly shape: readonly [number] | readonly [number, number];
}

/** Every weight of a model, in the order of the forward pass. */
export function* expectedWeights(config: ModelConfig): Generator<ExpectedWeight> {
  const { hiddenSize, vocabSize, headDim, experts } = config;
  const queryRows = config.numHeads * headDim;
  const kvRows = config.numKvHeads * headDim;
  yield { role: "embed", layer: -1, expert: -1, shape: [vocabSize, hiddenSize] };
  for (let layer = 0; layer < config.numLayers; layer++) {
    const weight = (role: WeightRole, ...shape: [number] | [number, number]): ExpectedWeight => ({
      role,
      layer,
      expert: -1,
      shape,
    });
    yield weight("attn_norm", hiddenSize);
    yield weight("q", queryRows, hiddenSize);
    yield weight("k", kvRows, hiddenSize);
    yield weight("v", kvRows, hiddenSize);
    yield weight("o", hiddenSize, queryRows);
    if (config.qkvBias) {
      yield weight("q_bias", queryRows);
      yield weight("k_bias", kvRows);
      yield weight("v_bias", kvRows);
    }
    if (config.oBias) yield weight("o_bias", hiddenSize);
    if (config.qkNorm) {
      yield weight("q_norm", headDim);
      yield weight("k_norm", headDim);
    }
    yield weight("ffn_norm", hiddenSize);
    if (experts?.layers[layer]) {
      yield weight("router", experts.count, hiddenSize);
      for (let expert = 0; expert < experts.count; expert++) {
        const inner = experts.intermediateSize;
        yield { role: "expert_gate", layer, expert, shape: [inner, hiddenSize] };
        yield { role: "expert_up", layer, expert, shape: [inner, hiddenSize] };
        yield { role: "expert_down", layer, expert, shape: [hiddenSize, inner] };
      }
    } else {
      yield weight("gate", config.intermediateSize, hiddenSize);
      yield weight("up", config.intermediateSize, hiddenSize);
      yield weight("down", hiddenSize, config.intermediateSize);
    }
  }
  yield { role: "final_norm", layer: -1, expert: -1, shape: [hiddenSize] };
  if (!config.tiedEmbeddings) yield { role: "lm_head", layer: -1, expert: -1, shape: [vocabSize, hiddenSize] };
}
