import { ServeError } from "../core/errors.ts";
import { reflected } from "../core/reflected.ts";
import { bodyTimeout, bodyTooLarge, declaredLength, maxRequestBytes } from "./body-limit.ts";
import { exactInteger } from "./exact-integer.ts";
import type { HttpDeps } from "./http-deps.ts";
import { JsonScanner, restJsonBounds } from "./json-bounds.ts";
import type { RequestContext } from "./request-context.ts";
import { wellFormed } from "./well-formed.ts";

const UTF8 = new TextDecoder("utf-8", { fatal: true });
/** Text decoded from UTF-8 has lone surrogates only where they are written as escapes. */
const SURROGATE_ESCAPE = /\\u[dD][89a-fA-F]/;

/** A request, and what is noted when its body has been read to the end. */
type RequestBody = Pick<RequestContext, "request" | "bodyPending">;

/**
 * Reads a request's body as a JSON object, whatever its content-type says (as OpenAI does). Throws ServeError:
 * payload_too_large beyond maxRequestBytes (known from content-length before a byte is read, where there is one),
 * deadline_exceeded with reason body_timeout when it does not arrive within bodyDeadlineMs, invalid_argument for what is
 * no JSON object in UTF-8 or beyond restJsonBounds. Of members with one name the last counts, as in JSON.parse.
 */
export async function readJsonObject(
  body: RequestBody,
  { gateway, limits, turns }: Pick<HttpDeps, "gateway" | "limits" | "turns">,
): Promise<Record<string, unknown>> {
  const encoding = body.request.headers.get("content-encoding");
  if (encoding !== null && encoding.trim().toLowerCase() !== "identity") {
    throw new ServeError("invalid_argument", "A compressed request body is not supported.", {
      reason: "unsupported_content_encoding",
    });
  }
  const text = await readText(body, { gateway, limits, turns });
  if (turns.spent()) await turns.next();
  const object = parseObject(text);
  // What the endpoint does with it comes on top.
  if (turns.spent()) await turns.next();
  return object;
}

function parseObject(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const where = error instanceof SyntaxError ? `: ${reflected(error.message)}` : "";
    throw new ServeError("invalid_argument", `The request body is not valid JSON${where}.`, { reason: "invalid_json" });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ServeError("invalid_argument", "The request body must be a JSON object.", { reason: "invalid_json" });
  }
  const object = (SURROGATE_ESCAPE.test(text) ? wellFormed(value) : value) as Record<string, unknown>;
  // The one field that takes 64 bits.
  if (Number.isInteger(object.seed) && !Number.isSafeInteger(object.seed)) {
    object.seed = exactInteger(text, "seed", object.seed as number);
  }
  return object;
}

async function readText(
  body: RequestBody,
  { gateway, limits, turns }: Pick<HttpDeps, "gateway" | "limits" | "turns">,
): Promise<string> {
  const { request } = body;
  const maxBytes = maxRequestBytes(gateway.models(), limits);
  const deadlineMs = limits.bodyDeadlineMs;
  const scanner = new JsonScanner(restJsonBounds(limits));
  const declared = declaredLength(request.headers);
  if (declared !== undefined && declared > maxBytes) throw bodyTooLarge(maxBytes);
  const expired = Promise.withResolvers<never>();
  // Nobody may be waiting when the time is up.
  expired.promise.catch(() => {});
  const timer = setTimeout(() => {
    expired.reject(bodyTimeout(deadlineMs));
  }, deadlineMs);
  try {
    if (declared === undefined) return await readUnbounded(body, maxBytes, expired.promise, scanner);
    const bytes = await Promise.race([request.bytes(), expired.promise]);
    body.bodyPending = false;
    if (turns.spent()) await turns.next();
    scanner.push(bytes);
    if (turns.spent()) await turns.next();
    return UTF8.decode(bytes);
  } catch (error) {
    if (error instanceof ServeError) throw error;
    if (error instanceof TypeError) {
      throw new ServeError("invalid_argument", "The request body is not valid UTF-8.", { reason: "invalid_json" });
    }
    throw new ServeError("cancelled", "The client went away before its request had arrived.", { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

/** A body that does not say how long it is. Rejects when `expired` does. */
async function readUnbounded(
  body: RequestBody,
  maxBytes: number,
  expired: Promise<never>,
  scanner: JsonScanner,
): Promise<string> {
  if (body.request.body === null) return "";
  const reader = body.request.body.getReader();
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let text = "";
  let received = 0;
  try {
    for (;;) {
      const { done, value } = await Promise.race([reader.read(), expired]);
      if (done) {
        body.bodyPending = false;
        return text + decoder.decode();
      }
      received += value.length;
      if (received > maxBytes) throw bodyTooLarge(maxBytes);
      scanner.push(value);
      text += decoder.decode(value, { stream: true });
    }
  } catch (error) {
    reader.cancel().catch(() => {});
    throw error;
  }
}
