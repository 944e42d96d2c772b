import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import { MAX_MESSAGE_CHARS, ServeError } from "../../core/errors.ts";
import { MAX_REFLECTED_CHARS, reflected } from "../../core/reflected.ts";
import { COMPRESSED, END_STREAM, framed, PREFIX_BYTES } from "./frames.ts";

const STATUS_OK = 200;
export const NOT_WELL_FORMED = "A text of the request is not well-formed Unicode.";
/** Headers of the protocols that Connect repeats in errors when it does not understand them. */
const REPEATED_HEADERS = [
  "content-encoding",
  "connect-content-encoding",
  "connect-timeout-ms",
  "connect-protocol-version",
  "grpc-encoding",
  "grpc-timeout",
];

/**
 * Errors that Connect itself makes while it decodes a request repeat the client's texts as they came. Makes their messages
 * short and well-formed: in a unary error's body, and in the envelope that ends a stream.
 */
export function tidyErrors(response: UniversalServerResponse): UniversalServerResponse {
  const { body, status, header } = response;
  if (body === undefined || header === undefined) return response;
  if (status === STATUS_OK) {
    const isStream = header.get("content-type")?.startsWith("application/connect+") ?? false;
    return isStream ? { ...response, body: mapped(body, tidyEnvelope) } : response;
  }
  if (!header.get("content-type")?.includes("json")) return response;
  const isCompressed = header.has("content-encoding");
  header.delete("content-encoding");
  header.delete("content-length");
  return { ...response, body: mapped(body, (chunk) => tidyJson(isCompressed ? gunzip(chunk) : chunk)) };
}

/** The same headers, with those cut that come back in errors. */
export function withShortHeaders(headers: Headers): Headers {
  let result = headers;
  for (const name of REPEATED_HEADERS) {
    const value = headers.get(name);
    if (value === null || value.length <= MAX_REFLECTED_CHARS) continue;
    if (result === headers) result = new Headers(headers);
    result.set(name, value.slice(0, MAX_REFLECTED_CHARS));
  }
  return result;
}

/**
 * gRPC's status messages are percent-encoded, which fails on a lone surrogate: one that JSON had where another type belongs,
 * and that Connect repeats.
 */
export function illFormed(error: unknown): never {
  if (!(error instanceof URIError)) throw error;
  throw new ServeError("invalid_argument", NOT_WELL_FORMED, { reason: "invalid_json" });
}

async function* mapped(body: AsyncIterable<Uint8Array>, change: (chunk: Uint8Array) => Uint8Array) {
  // Connect hands over an error, and each envelope, in one chunk.
  for await (const chunk of body) yield change(chunk);
}

function tidyEnvelope(chunk: Uint8Array): Uint8Array {
  const flags = chunk[0] ?? 0;
  if ((flags & END_STREAM) === 0) return chunk;
  const data = chunk.subarray(PREFIX_BYTES);
  const json = tidyJson((flags & COMPRESSED) === 0 ? data : gunzip(data));
  return framed(json, END_STREAM);
}

/** An error as it is alone, or as the `error` of a stream's end. */
function tidyJson(bytes: Uint8Array): Uint8Array {
  if (bytes.length === 0) return bytes;
  const value = JSON.parse(new TextDecoder().decode(bytes)) as { message?: string; error?: { message?: string } };
  const error = value.error ?? value;
  if (error.message !== undefined) error.message = reflected(error.message, MAX_MESSAGE_CHARS);
  return new TextEncoder().encode(JSON.stringify(value));
}

/** The only compression that is accepted and offered. */
function gunzip(bytes: Uint8Array): Uint8Array {
  return Bun.gunzipSync(bytes as Uint8Array<ArrayBuffer>);
}
