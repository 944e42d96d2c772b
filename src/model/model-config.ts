import type { Architecture } from "./architectures.ts";
import { type RopeConfig, ropeAttentionFactor, ropeInvFreq } from "./rope.ts";
import type { ModelSpec } from "./spec.ts";

/** A checkpoint's numbers and flags, read from config.json or GGUF metadata and checked: what both formats agree on. */
export interface ModelConfig {
  readonly architecture: Architecture;
  readonly numLayers: number;
  readonly hiddenSize: number;
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  /** Of dense layers. */
  readonly intermediateSize: number;
  readonly vocabSize: number;
  readonly maxPositions: number;
  readonly rmsNormEps: number;
  readonly rope: RopeConfig;
  /** [numLayers], 0: full attention. */
  readonly layerWindow: readonly number[];
  /** lm_head is the embedding. */
  readonly tiedEmbeddings: boolean;
  readonly qkvBias: boolean;
  readonly oBias: boolean;
  readonly qkNorm: boolean;
  readonly experts: ExpertConfig | undefined;
}

export interface ExpertConfig {
  readonly count: number;
  readonly perToken: number;
  readonly intermediateSize: number;
  readonly normTopkProb: boolean;
  /** [numLayers]: which layers are mixtures of experts. */
  readonly layers: readonly boolean[];
}

export function toModelSpec(config: ModelConfig): ModelSpec {
  const { experts } = config;
  return {
    architecture: config.architecture.name,
    numLayers: config.numLayers,
    hiddenSize: config.hiddenSize,
    numHeads: config.numHeads,
    numKvHeads: config.numKvHeads,
    headDim: config.headDim,
    intermediateSize: experts?.layers.every(Boolean) ? 0 : config.intermediateSize,
    vocabSize: config.vocabSize,
    maxPositions: config.maxPositions,
    numExperts: experts?.count ?? 0,
    expertsPerToken: experts?.perToken ?? 0,
    moeIntermediateSize: experts?.intermediateSize ?? 0,
    rmsNormEps: config.rmsNormEps,
    ropeInvFreq: ropeInvFreq(config.headDim, config.rope),
    ropeAttentionFactor: ropeAttentionFactor(config.rope.scaling),
    layerWindow: Int32Array.from(config.layerWindow),
    qkNorm: config.qkNorm,
    normTopkProb: experts?.normTopkProb ?? false,
  };
}
