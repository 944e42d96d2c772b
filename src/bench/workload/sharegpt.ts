import { ServeError } from "../../core/errors.ts";
import { makeRng } from "../stats/rng.ts";
import type { Session, Workload } from "./session.ts";

interface Exchange {
  prompt: string;
  /** Words and marks of the recorded reply, at four characters a token. */
  outputTokens: number;
}

/** Characters of English text a token, the usual estimate; a reply's exact length would need the server's tokenizer. */
const CHARS_PER_TOKEN = 4;
/** vLLM's benchmark drops exchanges outside these as well: too short to time, or beyond small contexts. */
const MIN_CHARS = 16;
const MAX_CHARS = 4096;

export interface ShareGptOptions {
  /** Turns of each conversation to play. */
  turns: number;
  seed: number;
}

/**
 * Conversations of a ShareGPT-style JSON file: [{conversations: [{from: "human" | "gpt", value}, ...]}], also with
 * `messages: [{role, content}]`. Real prompts in a seeded random order; a turn asks for as many tokens as the recorded
 * reply has, by estimate. Throws ServeError when the file is not of that shape.
 */
export function shareGptWorkload(text: string, options: ShareGptOptions): Workload {
  const conversations = parseConversations(text).filter((turns) => turns.length > 0);
  if (conversations.length === 0)
    throw new ServeError("invalid_argument", "The dataset holds no conversation of usable length.");
  const rng = makeRng(options.seed, 5);
  for (let i = conversations.length - 1; i > 0; i--) {
    const j = rng.integer(i + 1);
    [conversations[i], conversations[j]] = [conversations[j]!, conversations[i]!];
  }
  // Cells take different conversations as long as there are enough: a stride that shares no factor walks them all.
  const stride = coprimeStride(conversations.length);
  return {
    description: `${conversations.length} recorded conversations, ${options.turns} turn(s), reply lengths estimated`,
    distinct: conversations.length,
    timestampsMs: undefined,
    multiTurn: options.turns > 1,
    session(cell: number, index: number): Session {
      const chosen = conversations[(cell * stride + index) % conversations.length]!;
      const turns = chosen.slice(0, options.turns);
      return { index, turns: turns.map((turn) => ({ content: turn.prompt, maxTokens: turn.outputTokens })) };
    },
  };
}

function parseConversations(text: string): Exchange[][] {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch (cause) {
    throw new ServeError("invalid_argument", "The dataset is not JSON.", { cause });
  }
  if (!Array.isArray(data)) throw new ServeError("invalid_argument", "The dataset is not a list of conversations.");
  return data.map(exchangesOf);
}

/** User messages that have a reply, up to the first that is too short or too long. */
function exchangesOf(item: unknown): Exchange[] {
  const record = (typeof item === "object" && item !== null ? item : {}) as Record<string, unknown>;
  const list = record.conversations ?? record.messages;
  const messages = Array.isArray(list) ? list.map(messageOf) : [];
  const exchanges: Exchange[] = [];
  for (let at = 0; at + 1 < messages.length; at++) {
    const [asked, answered] = [messages[at]!, messages[at + 1]!];
    if (!asked.isUser || answered.isUser) continue;
    const sizes = [asked.text.length, answered.text.length];
    if (sizes.some((size) => size < MIN_CHARS || size > MAX_CHARS)) break;
    exchanges.push({ prompt: asked.text, outputTokens: Math.ceil(answered.text.length / CHARS_PER_TOKEN) });
  }
  return exchanges;
}

function messageOf(value: unknown): { isUser: boolean; text: string } {
  const record = (typeof value === "object" && value !== null ? value : {}) as Record<string, unknown>;
  const from = record.from ?? record.role;
  const text = record.value ?? record.content;
  return { isUser: from === "human" || from === "user", text: typeof text === "string" ? text : "" };
}

function coprimeStride(size: number): number {
  const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));
  let stride = Math.max(1, Math.floor(size * 0.618));
  while (gcd(stride, size) !== 1) stride++;
  return stride;
}
