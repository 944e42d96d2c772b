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

/**
 * A body's bytes as its head gives them, to which the server holds the client. A body of known length is best read whole:
 * as a stream it costs 30 us and 5 kB of buffers more.
 */
export function declaredLength(headers: Headers): number | undefined {
  const declared = headers.get("content-length");
  return declared === null ? undefined : Number(declared);
}
