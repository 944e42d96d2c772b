import { ServeError } from "../core/errors.ts";
import type { Gateway, ServedModel } from "../gateway/gateway.ts";
import type { Fields } from "./fields.ts";

/** A start takes this long at most on a warm page cache; clients that retry meet a server that is ready. */
const LOADING_RETRY_AFTER_S = 2;

/** The model that `model` names. Throws ServeError: not_found, or unavailable while nothing is loaded yet. */
export function requestedModel(fields: Fields, gateway: Gateway): ServedModel {
  const name = fields.requiredString("model");
  if (gateway.models().length === 0) {
    throw new ServeError("unavailable", "The model is still loading.", {
      reason: "model_loading",
      retryAfterS: LOADING_RETRY_AFTER_S,
    });
  }
  return gateway.model(name);
}
