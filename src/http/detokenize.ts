import { Fields, invalidField } from "./fields.ts";
import { readJsonObject } from "./read-json.ts";
import type { Endpoint } from "./request-handler.ts";

/** POST /detokenize, as vLLM's: token ids to text, special tokens included. */
export const detokenize: Endpoint = async (context, deps) => {
  const fields = new Fields(await readJsonObject(context, deps));
  const model = deps.gateway.model(fields.requiredString("model"));
  // No output of this model is longer.
  const bound = { most: model.maxModelLen, what: "token ids", reason: "context_length_exceeded" };
  const tokens = fields.integers("tokens", bound);
  if (tokens === undefined) throw fields.missing("tokens");
  const unknown = tokens.findIndex((id) => id < 0 || id >= model.vocabSize);
  if (unknown !== -1) {
    const message = `Token id ${tokens[unknown]} is not in the vocabulary (0..${model.vocabSize - 1}).`;
    throw invalidField(`tokens[${unknown}]`, message, "invalid_value");
  }
  return Response.json({ prompt: model.text.tokenizer.decode(tokens, false) });
};
