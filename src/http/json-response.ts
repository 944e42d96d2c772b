import type { HttpDeps } from "./http-deps.ts";
import type { RequestContext } from "./request-context.ts";
import { ResponseBody } from "./response-body.ts";
import type { TurnBudget } from "./turn-budget.ts";

const HEADERS = { "content-type": "application/json;charset=utf-8" };

/**
 * A JSON response from the pieces of its text. A short one goes out whole. A long one is written as it is read: in slices that
 * leave the event loop to others, at most maxBufferedStreamBytes of it at a time, and for a reader that keeps reading.
 */
export async function jsonResponse(
  pieces: Iterator<string>,
  context: RequestContext,
  { limits, turns }: Pick<HttpDeps, "limits" | "turns">,
): Promise<Response> {
  const chunks = textChunks(pieces, limits.maxBufferedStreamBytes, turns);
  const first = await chunks.next();
  const second = first.value!.length < limits.maxBufferedStreamBytes ? undefined : await chunks.next();
  if (!second?.value) return new Response(first.value!, { headers: HEADERS });
  const body = new ResponseBody(limits.stalledReaderMs, () => context.release());
  const { signal } = context.request;
  if (signal.aborted) body.drop();
  signal.addEventListener("abort", () => body.drop(), { once: true });
  context.streamEnded = body.ended;
  return new Response(body.of(encoded([first.value!, second.value], chunks)), { headers: HEADERS });
}

/** The text in chunks of at least `bytes` characters but for the last, of which there is always one. */
async function* textChunks(pieces: Iterator<string>, bytes: number, turns: TurnBudget): AsyncGenerator<string, void> {
  let text = "";
  for (let piece = pieces.next(); piece.done !== true; piece = pieces.next()) {
    text += piece.value;
    if (text.length >= bytes) {
      yield text;
      text = "";
    }
    if (turns.spent()) await turns.next();
  }
  yield text;
}

async function* encoded(first: readonly string[], rest: AsyncGenerator<string, void>): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  for (const text of first) yield encoder.encode(text);
  for await (const text of rest) if (text !== "") yield encoder.encode(text);
}
