import { LIMITS } from "../config/limits.ts";
import { ServeError } from "../core/errors.ts";

/**
 * The characters of a chat's extra template variables, counted as the template's other texts are. Throws ServeError
 * invalid_argument for what is nested too deep to be handed to the Worker, or has too many values. Values are JSON's.
 */
export function measureVariables(variables: Readonly<Record<string, unknown>> | undefined): number {
  let chars = 0;
  let values = 0;
  const visit = (value: unknown, depth: number): void => {
    if (depth > LIMITS.maxJsonDepth) throw refusal(`are nested more than ${LIMITS.maxJsonDepth} levels deep`);
    if (++values > LIMITS.maxTemplateValues) throw refusal(`have more than ${LIMITS.maxTemplateValues} values`);
    if (typeof value === "string") {
      chars += value.length;
    } else if (Array.isArray(value)) {
      for (const item of value) visit(item, depth + 1);
    } else if (typeof value === "object" && value !== null) {
      for (const [name, item] of Object.entries(value)) {
        chars += name.length;
        visit(item, depth + 1);
      }
    }
  };
  if (variables !== undefined) visit(variables, 0);
  return chars;
}

function refusal(what: string): ServeError {
  return new ServeError("invalid_argument", `The template's variables ${what}.`, {
    param: "chat_template_kwargs",
    reason: "invalid_value",
  });
}
