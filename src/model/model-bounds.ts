/**
 * What a model file may claim before it is called broken. Each bound is several times the largest published model, and
 * small enough that a file within it cannot make the reader allocate or loop without end.
 */
export const MODEL_BOUNDS = Object.freeze({
  /** Published models have at most 128 layers. */
  maxLayers: 1024,
  /** Llama 405B: 16,384. */
  maxHiddenSize: 131_072,
  maxHeads: 1024,
  maxHeadDim: 1024,
  /** Llama 405B: 53,248. */
  maxIntermediateSize: 1_048_576,
  /** Gemma 3: 262,208. */
  maxVocabSize: 4_194_304,
  /** Positions are int32 in a step; 16 M tokens is past any published context. */
  maxPositions: 16_777_216,
  /** Qwen3 has 128 experts, DeepSeek 256. */
  maxExperts: 4096,
  /** 94 layers x 128 unstacked experts x 3 matrices, each with two scales, is 108 k. */
  maxTensors: 524_288,
  /** A vocabulary of 260 k with its merges takes 15 MB. */
  maxGgufHeaderBytes: 512 * 1024 * 1024,
  /** GGUF's specification limits a key to 65,535 bytes; tensor names are shorter in practice. */
  maxNameBytes: 65_535,
  /** Chat templates reach 20 kB; 16 MiB leaves room for licenses kept in metadata. */
  maxStringBytes: 16 * 1024 * 1024,
  /** Real files hold 20 to 60 keys. */
  maxMetadataKeys: 65_536,
  /** Merges of the largest vocabularies are 500 k strings. */
  maxArrayElements: 4_194_304,
  /** Of all arrays together: tokens, types, scores and merges. */
  maxTotalArrayElements: 16_777_216,
  /** safetensors' own limit on its header. */
  maxSafetensorsHeaderBytes: 100_000_000,
  /** config.json, generation_config.json, tokenizer_config.json: kilobytes in practice. */
  maxConfigBytes: 16 * 1024 * 1024,
  /** Gemma's tokenizer.json has 33 MB. */
  maxTokenizerBytes: 256 * 1024 * 1024,
  /** An index names every tensor: about 120 bytes each. */
  maxIndexBytes: 64 * 1024 * 1024,
  /** Published checkpoints have up to 191 shards. */
  maxShards: 4096,
});
