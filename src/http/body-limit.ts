import type { Limits } from "../config/limits.ts";
import type { ServedModel } from "../gateway/gateway.ts";

/** The most bytes of a JSON body: by the longest context served here, within maxBodyBytes. */
export function maxJsonBytes(
  models: readonly Pick<ServedModel, "maxModelLen">[],
  limits: Pick<Limits, "maxBodyBytes" | "minMaxBodyBytes" | "bodyBytesPerToken">,
): number {
  const longest = Math.max(0, ...models.map((model) => model.maxModelLen));
  return Math.min(limits.maxBodyBytes, Math.max(limits.minMaxBodyBytes, longest * limits.bodyBytesPerToken));
}
