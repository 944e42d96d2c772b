import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { FileSource } from "../file-source.ts";
import { readJsonFile } from "../json-fields.ts";
import { MODEL_BOUNDS } from "../model-bounds.ts";
import { ModelError } from "../model-error.ts";
import type { StoredTensor, StoredTensors } from "../stored-tensor.ts";
import { readSafetensors } from "./read-safetensors.ts";

const SINGLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";

/** Reads the headers of a folder's model.safetensors, or of the shards that its index lists. Throws ModelError. */
export function openCheckpoint(folder: string): StoredTensors {
  const indexPath = join(folder, INDEX);
  if (existsSync(indexPath)) return openShards(folder, indexPath);
  const path = join(folder, SINGLE);
  if (!existsSync(path)) {
    throw new ModelError(folder, undefined, `has neither ${SINGLE} nor ${INDEX}; only safetensors weights are read`);
  }
  const byName = new Map<string, StoredTensor>();
  for (const tensor of readHeader(path, 0)) byName.set(tensor.name, tensor);
  return { paths: [path], byName };
}

function openShards(folder: string, indexPath: string): StoredTensors {
  const weightMap = readJsonFile(indexPath, MODEL_BOUNDS.maxIndexBytes).object("weight_map");
  if (weightMap === undefined) throw new ModelError(indexPath, "weight_map", "is missing");
  const shardOf = new Map<string, string>();
  for (const name of weightMap.keys()) {
    const shard = weightMap.string(name)!;
    // Shards lie beside the index: a path could lead anywhere.
    if (shard !== basename(shard) || !shard.endsWith(".safetensors")) {
      throw new ModelError(indexPath, `weight_map.${name}`, `is ${JSON.stringify(shard)}, which is not a shard's name`);
    }
    shardOf.set(name, shard);
  }
  const shards = [...new Set(shardOf.values())].sort();
  if (shards.length > MODEL_BOUNDS.maxShards) {
    throw new ModelError(indexPath, "weight_map", `names ${shards.length} shards, more than ${MODEL_BOUNDS.maxShards}`);
  }
  const paths = shards.map((shard) => join(folder, shard));
  const byName = new Map<string, StoredTensor>();
  paths.forEach((path, file) => {
    for (const tensor of readHeader(path, file)) {
      if (byName.has(tensor.name)) throw new ModelError(path, tensor.name, "is in two shards");
      byName.set(tensor.name, tensor);
    }
  });
  for (const [name, shard] of shardOf) {
    const tensor = byName.get(name);
    if (tensor === undefined)
      throw new ModelError(join(folder, shard), name, `is missing, but ${INDEX} places it here`);
    if (shards[tensor.file] !== shard) {
      throw new ModelError(indexPath, `weight_map.${name}`, `names ${shard}, but it is in ${shards[tensor.file]}`);
    }
  }
  return { paths, byName };
}

function readHeader(path: string, file: number): StoredTensor[] {
  const source = new FileSource(path);
  try {
    return readSafetensors(source, file);
  } finally {
    source.close();
  }
}
