import type { ServedModel } from "../../gateway/gateway.ts";

/** What all chunks and answers of one HTTP request share. */
export interface ResponseShape {
  readonly id: string;
  /** Seconds since 1970. */
  readonly created: number;
  readonly model: Pick<ServedModel, "name" | "systemFingerprint">;
}

/** The beginning of a response object or chunk, without its closing brace. */
export function envelope(object: string, { id, created, model }: ResponseShape): string {
  const name = JSON.stringify(model.name);
  const fingerprint = JSON.stringify(model.systemFingerprint);
  return `{"id":"${id}","object":"${object}","created":${created},"model":${name},"system_fingerprint":${fingerprint}`;
}
