import type { HttpDeps } from "./http-deps.ts";
import type { RequestContext } from "./request-context.ts";
import { ResponseBody } from "./response-body.ts";
import type { TurnBudget } from "./turn-budget.ts";

const HEADERS = { "content-type": "application/json;charset=utf-8" };
/** Pieces between two looks at the clock; one costs up to 30 us. */
const PIECES = 16;

/**
 * A JSON response from the pieces of its text. A short one goes out whole. A long one is written as it is read: in slices that
 * leave the event loop to others, about maxBufferedStreamBytes of it at a time, and for a reader that keeps reading.
 */
export async function jsonResponse(
  pieces: Iterator<string, void>,
  context: RequestContext,
  { limits, turns }: Pick<HttpDeps, "limits" | "turns">,
): Promise<Response> {
  const text = new JsonText(pieces, limits.maxBufferedStreamBytes);
  for (let first = text.take(turns); ; first = text.take(turns)) {
    if (text.isWhole) return new Response(first, { headers: HEADERS });
    if (text.isFull) break;
    await turns.next();
  }
  const body = new ResponseBody(limits.stalledReaderMs, () => context.release());
  const { signal } = context.request;
  if (signal.aborted) body.drop();
  signal.addEventListener("abort", () => body.drop(), { once: true });
  context.streamEnded = body.ended;
  return new Response(body.of(chunksOf(text, turns)), { headers: HEADERS });
}

/** Text as it grows from its pieces, up to a chunk. */
class JsonText {
  isWhole = false;
  private text = "";

  constructor(
    private readonly pieces: Iterator<string, void>,
    private readonly chunkChars: number,
  ) {}

  get isFull(): boolean {
    return this.text.length >= this.chunkChars;
  }

  /** The text so far, with what this turn of the event loop has time for. */
  take(turns: TurnBudget): string {
    for (let i = 1; !this.isFull; i++) {
      const { done, value } = this.pieces.next();
      if (done) {
        this.isWhole = true;
        break;
      }
      this.text += value;
      if (i % PIECES === 0 && turns.spent()) break;
    }
    return this.text;
  }

  clear(): void {
    this.text = "";
  }
}

async function* chunksOf(text: JsonText, turns: TurnBudget): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  for (;;) {
    const chunk = text.take(turns);
    if (chunk !== "" && (text.isFull || text.isWhole)) {
      yield encoder.encode(chunk);
      text.clear();
    }
    if (text.isWhole) return;
    if (turns.spent()) await turns.next();
  }
}
