import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { JsonFields, parseJsonFields, readJsonFileIfAny, readTextFile } from "../json-fields.ts";
import { MODEL_BOUNDS } from "../model-bounds.ts";
import { ModelError } from "../model-error.ts";
import type { TextSource } from "../spec.ts";

const SPECIAL_TOKENS = ["bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"];
const EXTRA_TEMPLATES = "additional_chat_templates";

/** Reads the tokenizer, chat templates and special tokens of a Hugging Face folder. Throws ModelError. */
export function readText(folder: string, config: JsonFields, generation: JsonFields): TextSource {
  const tokenizerPath = join(folder, "tokenizer.json");
  if (!existsSync(tokenizerPath)) {
    throw new ModelError(folder, "tokenizer.json", "is missing; other tokenizer files (tokenizer.model) are not read");
  }
  const json = readTextFile(tokenizerPath, MODEL_BOUNDS.maxTokenizerBytes);
  const configPath = join(folder, "tokenizer_config.json");
  const tokenizerConfig = readJsonFileIfAny(configPath, MODEL_BOUNDS.maxConfigBytes);
  const templates = readTemplates(folder, tokenizerConfig);
  const { default: chatTemplate, ...namedTemplates } = templates;
  const specialTokens = readSpecialTokens(folder, tokenizerConfig);
  const ends = new Set([...tokenIds(generation, "eos_token_id"), ...tokenIds(config, "eos_token_id")]);
  // Some converted checkpoints name their end token only to the tokenizer.
  const named = ends.size === 0 ? addedTokenId(tokenizerPath, json, specialTokens.eos_token) : undefined;
  return {
    tokenizer: {
      kind: "tokenizer_json",
      json,
      config: existsSync(configPath) ? readTextFile(configPath, MODEL_BOUNDS.maxConfigBytes) : "{}",
    },
    chatTemplate,
    namedTemplates,
    specialTokens,
    eosTokenIds: named === undefined ? [...ends] : [named],
    bosTokenId: tokenIds(config, "bos_token_id")[0] ?? tokenIds(generation, "bos_token_id")[0],
  };
}

/** By name; the usual one is "default". A chat_template.jinja beside the configuration replaces what that holds. */
function readTemplates(folder: string, tokenizerConfig: JsonFields): Record<string, string> {
  const templates: Record<string, string> = {};
  const field = tokenizerConfig.raw("chat_template") ?? undefined;
  if (Array.isArray(field)) {
    for (const [i, entry] of field.entries()) {
      const fields = new JsonFields(tokenizerConfig.file, `chat_template[${i}].`, Object(entry));
      const name = fields.string("name");
      const template = fields.string("template");
      if (name === undefined || template === undefined) throw fields.error("name", "and template must be strings");
      templates[name] = template;
    }
  } else if (field !== undefined) {
    templates.default = tokenizerConfig.string("chat_template")!;
  }
  const read = (path: string) => readTextFile(path, MODEL_BOUNDS.maxStringBytes);
  const file = join(folder, "chat_template.jinja");
  if (existsSync(file)) templates.default = read(file);
  const extra = join(folder, EXTRA_TEMPLATES);
  if (existsSync(extra)) {
    for (const name of readdirSync(extra)) {
      if (name.endsWith(".jinja")) templates[name.slice(0, -".jinja".length)] = read(join(extra, name));
    }
  }
  return templates;
}

/** Texts of special tokens: strings, or objects with their text as `content`. */
function readSpecialTokens(folder: string, tokenizerConfig: JsonFields): Record<string, string> {
  const map = readJsonFileIfAny(join(folder, "special_tokens_map.json"), MODEL_BOUNDS.maxConfigBytes);
  const tokens: Record<string, string> = {};
  for (const name of SPECIAL_TOKENS) {
    for (const fields of [tokenizerConfig, map]) {
      const value = fields.raw(name) ?? undefined;
      const text = typeof value === "object" ? fields.object(name)!.string("content") : fields.string(name);
      if (text !== undefined) tokens[name] ??= text;
    }
  }
  return tokens;
}

function addedTokenId(path: string, tokenizerJson: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  for (const entry of parseJsonFields(path, tokenizerJson).list("added_tokens") ?? []) {
    const fields = new JsonFields(path, "added_tokens[].", Object(entry));
    if (fields.string("content") === text) return fields.int("id", 0, MODEL_BOUNDS.maxVocabSize);
  }
  return undefined;
}

/** A token id, or a list of them; -1 means none. */
function tokenIds(fields: JsonFields, name: string): number[] {
  const value = fields.raw(name) ?? undefined;
  if (value === undefined) return [];
  const ids = Array.isArray(value) ? value : [value];
  for (const id of ids) {
    if (!Number.isInteger(id) || id < -1 || id > MODEL_BOUNDS.maxVocabSize) {
      throw fields.error(name, `is ${JSON.stringify(value)}, not a token id or a list of them`);
    }
  }
  return ids.filter((id) => id >= 0);
}
