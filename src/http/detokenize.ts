import { Fields, invalidField } from "./fields.ts";
import { readJsonObject } from "./read-json.ts";
import type { Endpoint } from "./request-handler.ts";

/** POST /detokenize, as vLLM's: token ids to text, special tokens included. */
export const detokenize: Endpoint = async ({ request }, deps) => {
  const fields = new Fields(await readJsonObject(request, deps));
  const model = deps.gateway.model(fields.requiredString("model"));
  const tokens = fields.integers("tokens");
  if (tokens === undefined) throw fields.missing("tokens");
  // Decoding runs on the event loop, so its length is bounded; no output of this model is longer.
  if (tokens.length > model.maxModelLen) {
    const message = `At most ${model.maxModelLen} token ids are allowed.`;
    throw invalidField("tokens", message, "context_length_exceeded");
  }
  const unknown = tokens.findIndex((id) => id < 0 || id >= model.vocabSize);
  if (unknown !== -1) {
    const message = `Token id ${tokens[unknown]} is not in the vocabulary (0..${model.vocabSize - 1}).`;
    throw invalidField(`tokens[${unknown}]`, message, "invalid_value");
  }
  return Response.json({ prompt: model.text.tokenizer.decode(tokens, false) });
};
