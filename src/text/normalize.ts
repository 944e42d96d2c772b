import type { Normalizer } from "./tokenizer-definition.ts";

/** atStart: the stretch begins the whole text. An empty stretch stays empty, as it has no token. */
export function normalize(text: string, normalizers: readonly Normalizer[], atStart: boolean): string {
  if (text === "") return text;
  let result = text;
  for (const step of normalizers) {
    switch (step.type) {
      case "unicode":
        result = result.normalize(step.form);
        break;
      case "lowercase":
        result = result.toLowerCase();
        break;
      case "replace":
        // A function, so that "$" in the content is no pattern of replaceAll's own.
        result = result.replaceAll(step.pattern, () => step.content);
        break;
      case "prepend":
        if (step.firstOnly && !atStart) break;
        if (step.unlessPresent && result.startsWith(step.content)) break;
        result = step.content + result;
        break;
    }
  }
  return result;
}
