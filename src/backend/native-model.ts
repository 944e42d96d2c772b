import { type LoadPlan, WEIGHT_DTYPES, WEIGHT_ROLES, type WeightTensor } from "../model/spec.ts";
import {
  enumValue,
  FLAG_NORM_TOPK_PROB,
  FLAG_QK_NORM,
  ISAS,
  type Isa,
  KV_DTYPES,
  type KvDtype,
  SCALE_KINDS,
  SL_MODEL_DESC,
  SL_MODEL_INFO,
  SL_TENSOR,
  WEIGHT_FORMATS,
  type WeightFormat,
} from "./abi.ts";
import { AddressBook } from "./address-book.ts";
import type { NativeHandle } from "./ffi.ts";
import { openLibrary } from "./library.ts";
import { readField, writeStruct } from "./struct-layout.ts";

export interface LoadOptions {
  /** From locateLibrary(). */
  readonly libraryPath: string;
  readonly weightFormat: WeightFormat;
  readonly isa?: Isa;
  /** Threads that load; 0 or undefined: one a core. */
  readonly numThreads?: number;
}

export interface NativeModelInfo {
  /** Resident bytes of the packed weights. */
  readonly weightBytes: number;
  readonly fileBytes: number;
  readonly numParameters: number;
  readonly isa: Isa;
}

/** Loaded weights, as plain data: post it to a Worker, which uses it as it is. The process owns the weights. */
export interface NativeModel {
  readonly libraryPath: string;
  readonly handle: NativeHandle;
  readonly info: NativeModelInfo;
  readonly vocabSize: number;
  readonly maxPositions: number;
  /** Sliding window of every layer, or 0 when any layer attends to everything. */
  readonly slidingWindow: number;
}

/**
 * Reads, checks and packs every weight of a plan. Blocks for as long as that takes: call it in a Worker where an event
 * loop matters. The weights stay until freeNativeModel, whatever becomes of the Worker. Throws BackendError.
 */
export function loadNativeModel(plan: LoadPlan, options: LoadOptions): NativeModel {
  const library = openLibrary(options.libraryPath);
  const book = new AddressBook();
  try {
    const handle = library.create("sl_model_load", describeModel(plan, options, book));
    const view = new DataView(new ArrayBuffer(SL_MODEL_INFO.size));
    library.info("sl_model_get_info", handle, view);
    const { fields } = SL_MODEL_INFO;
    const windows = plan.spec.layerWindow;
    return {
      libraryPath: options.libraryPath,
      handle,
      info: {
        weightBytes: readField(fields.weight_bytes, view),
        fileBytes: readField(fields.file_bytes, view),
        numParameters: readField(fields.num_parameters, view),
        isa: ISAS[readField(fields.isa, view)]!,
      },
      vocabSize: plan.spec.vocabSize,
      maxPositions: plan.spec.maxPositions,
      slidingWindow: windows.every((window) => window > 0) ? Math.max(...windows) : 0,
    };
  } finally {
    book.release();
  }
}

/** Frees the weights. Close every engine that uses them first. */
export function freeNativeModel(model: NativeModel): void {
  openLibrary(model.libraryPath).freeModel(model.handle);
}

/** Bytes that a KV block of this model takes, to size the cache before there is an engine. Throws BackendError. */
export function kvBlockBytes(model: NativeModel, blockSize: number, kvDtype: KvDtype): number {
  return openLibrary(model.libraryPath).kvBlockBytes(model.handle, blockSize, enumValue(KV_DTYPES, kvDtype));
}

/**
 * The KV format that serves a model best here: exact beside exact weights; where the kernels have dot products of
 * bfloat16 pairs, attention is twice as fast with it as with float16, but not on the processors with AMX, where such a
 * product takes as long as four multiply-adds.
 */
export function defaultKvDtype(model: NativeModel, weightFormat: WeightFormat): KvDtype {
  if (weightFormat === "float32") return "float32";
  return model.info.isa === "avx512" ? "bfloat16" : "float16";
}

function describeModel({ spec, paths, tensors }: LoadPlan, options: LoadOptions, book: AddressBook): ArrayBufferView {
  const tensorBytes = new DataView(new ArrayBuffer(SL_TENSOR.size * tensors.length));
  tensors.forEach((tensor, i) => void writeTensor(tensorBytes, i * SL_TENSOR.size, tensor));
  const pathTable = BigUint64Array.from(paths, (path) => BigInt(book.addText(path)));
  const desc = new DataView(new ArrayBuffer(SL_MODEL_DESC.size));
  writeStruct(SL_MODEL_DESC, desc, 0, {
    struct_bytes: SL_MODEL_DESC.size,
    flags: (spec.qkNorm ? FLAG_QK_NORM : 0) | (spec.normTopkProb ? FLAG_NORM_TOPK_PROB : 0),
    num_layers: spec.numLayers,
    hidden_size: spec.hiddenSize,
    num_heads: spec.numHeads,
    num_kv_heads: spec.numKvHeads,
    head_dim: spec.headDim,
    intermediate_size: spec.intermediateSize,
    vocab_size: spec.vocabSize,
    max_positions: spec.maxPositions,
    num_experts: spec.numExperts,
    experts_per_token: spec.expertsPerToken,
    moe_intermediate_size: spec.moeIntermediateSize,
    rms_norm_eps: spec.rmsNormEps,
    rope_attention_factor: spec.ropeAttentionFactor,
    weight_format: enumValue(WEIGHT_FORMATS, options.weightFormat),
    isa: enumValue(ISAS, options.isa ?? "auto"),
    num_threads: options.numThreads ?? 0,
    num_tensors: tensors.length,
    num_paths: paths.length,
    rope_inv_freq: book.add(spec.ropeInvFreq),
    layer_window: book.add(spec.layerWindow),
    tensors: book.add(tensorBytes),
    paths: book.add(pathTable),
  });
  return desc;
}

function writeTensor(view: DataView, base: number, tensor: WeightTensor): void {
  const { scale } = tensor;
  writeStruct(SL_TENSOR, view, base, {
    role: enumValue(WEIGHT_ROLES, tensor.role),
    layer: tensor.layer,
    expert: tensor.expert,
    dtype: enumValue(WEIGHT_DTYPES, tensor.dtype),
    rows: tensor.rows,
    cols: tensor.cols,
    offset: tensor.offset,
    num_bytes: tensor.numBytes,
    file: tensor.file,
    rope_heads: tensor.ropeHeads,
    scale_kind: enumValue(SCALE_KINDS, scale?.kind ?? "none"),
    scale_dtype: enumValue(WEIGHT_DTYPES, scale?.dtype ?? "f32"),
    scale_offset: scale?.offset ?? 0,
    scale_num_bytes: scale?.numBytes ?? 0,
    scale_file: scale?.file ?? 0,
    scale_block_rows: scale?.blockRows ?? 0,
    scale_block_cols: scale?.blockCols ?? 0,
  });
}
