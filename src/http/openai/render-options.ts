import type { RenderOptions } from "../../text/chat.ts";
import { type Fields, fieldsOf } from "../fields.ts";
import { named } from "./decode-sampling.ts";
import { decodeTools } from "./decode-tools.ts";

/**
 * What a request says to the chat template beside its messages. Tools and, as in vLLM, `documents` and `reasoning_effort` are
 * variables like any other, for templates that know them. Throws ServeError invalid_argument.
 */
export function decodeRenderOptions(fields: Fields): RenderOptions {
  const variables = {
    ...named({
      tools: decodeTools(fields),
      documents: fields.array("documents")?.map((item, i) => fieldsOf(item, `documents[${i}]`).toObject()),
      reasoning_effort: fields.string("reasoning_effort"),
    }),
    ...fields.fields("chat_template_kwargs")?.toObject(),
  };
  return {
    addGenerationPrompt: fields.boolean("add_generation_prompt") ?? true,
    ...(Object.keys(variables).length === 0 ? {} : { variables }),
  };
}
