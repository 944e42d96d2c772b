import { samplingField } from "../../core/sampling-fields.ts";
import type { SamplingParams } from "../../core/sampling-params.ts";
import type { ServedModel } from "../../gateway/gateway.ts";
import type { Endpoint } from "../request-handler.ts";
import { requestPath } from "../request-path.ts";

function modelObject(model: ServedModel) {
  return {
    id: model.name,
    object: "model",
    created: model.createdS,
    owned_by: "scalellm",
    // vLLM's addition.
    max_model_len: model.maxModelLen,
    // Ours: what holds for a request that names none.
    default_sampling: Object.fromEntries(
      Object.entries({ ...model.recommendedSampling, ...model.generationDefaults }).map(([field, value]) => [
        samplingField(field as keyof SamplingParams).name,
        value,
      ]),
    ),
  };
}

/** GET /v1/models */
export const listModels: Endpoint = (_context, { gateway }) =>
  Response.json({ object: "list", data: gateway.models().map(modelObject) });

/** GET /v1/models/{id}; an id may hold slashes. */
export const retrieveModel: Endpoint = ({ request }, { gateway }) => {
  const encoded = requestPath(request).slice("/v1/models/".length);
  return Response.json(modelObject(gateway.model(decodedName(encoded))));
};

function decodedName(encoded: string): string {
  try {
    return decodeURIComponent(encoded);
  } catch {
    // A stray % is part of a name that does not exist.
    return encoded;
  }
}
