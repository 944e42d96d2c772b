/** A tensor as a checkpoint stores it, checked against its file's size. */
export interface StoredTensor {
  readonly name: string;
  /** Outermost dimension first; [] for a scalar. */
  readonly shape: readonly number[];
  /** A WeightDtype, or what the file calls a type that no weight may have ("i64"). */
  readonly dtype: string;
  /** Index into the checkpoint's paths. */
  readonly file: number;
  /** Absolute byte offset in that file. */
  readonly offset: number;
  readonly numBytes: number;
}

/** The tensors of a checkpoint, whatever its format. */
export interface StoredTensors {
  readonly paths: readonly string[];
  readonly byName: ReadonlyMap<string, StoredTensor>;
}
