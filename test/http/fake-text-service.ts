import { ServeError } from "../../src/core/errors.ts";
import type { ChatMessage, RenderOptions } from "../../src/text/chat.ts";
import type { TextService } from "../../src/text/text-service.ts";
import type { Tokenizer } from "../../src/text/tokenizer.ts";

export const BOS = 256;
export const EOS = 257;
const SPECIALS: Record<number, string> = { [BOS]: "<s>", [EOS]: "</s>" };
const NOTHING = new Uint8Array();

/** One token a byte, so that every character beyond ASCII is split between tokens. */
export const byteTokenizer: Tokenizer = {
  vocabSize: 258,
  bosTokenId: BOS,
  eosTokenIds: [EOS],
  encode(text, addSpecialTokens) {
    const bytes = Array.from(new TextEncoder().encode(text));
    return Int32Array.from(addSpecialTokens ? [BOS, ...bytes] : bytes);
  },
  decode(ids, skipSpecialTokens) {
    const shown = Array.from(ids).filter((id) => !(skipSpecialTokens && id in SPECIALS));
    return Buffer.concat(shown.map((id) => byteTokenizer.tokenBytes(id))).toString("utf8");
  },
  tokenBytes(id) {
    if (id < 256) return Uint8Array.of(id);
    return id in SPECIALS ? new TextEncoder().encode(SPECIALS[id]) : NOTHING;
  },
  tokenText: (id) => (id < 256 ? (id < 128 ? String.fromCharCode(id) : undefined) : (SPECIALS[id] ?? "")),
  isSpecial: (id) => id in SPECIALS,
};

/** Renders `role: content` lines and counts what it was asked. */
export class FakeTextService implements TextService {
  readonly tokenizer = byteTokenizer;
  hasChatTemplate = true;
  ready = true;
  rendered: Array<{ messages: readonly ChatMessage[]; options: RenderOptions }> = [];

  async encode(text: string, addSpecialTokens: boolean, signal?: AbortSignal): Promise<Int32Array> {
    if (signal?.aborted) throw new ServeError("cancelled", "aborted");
    return byteTokenizer.encode(text, addSpecialTokens);
  }

  async encodeChat(messages: readonly ChatMessage[], options: RenderOptions) {
    this.rendered.push({ messages, options });
    const lines = messages.map(({ role, content }) => `${role}: ${content}\n`).join("");
    const text = options.addGenerationPrompt ? `${lines}assistant:` : lines;
    return { text, ids: byteTokenizer.encode(text, false), templateMs: 0, tokeniseMs: 0 };
  }

  async close(): Promise<void> {}
}
