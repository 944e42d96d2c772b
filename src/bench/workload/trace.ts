import { ServeError } from "../../core/errors.ts";
import { makeRng } from "../stats/rng.ts";
import type { Session, Workload } from "./session.ts";
import { promptOf, randomWords } from "./synthetic.ts";
import type { PromptScale } from "./token-counter.ts";

/** One request of a trace. */
export interface TraceEntry {
  timestampMs: number;
  inputTokens: number;
  outputTokens: number;
  /** Ids of the prompt's blocks of 512 tokens; equal ids mean equal text. Empty where the trace has none. */
  hashIds: readonly number[];
}

/** Tokens of a block in the Mooncake traces. */
const BLOCK_TOKENS = 512;
const TRACE_TEXT = 4;

/**
 * Reads a trace: JSON lines as Mooncake publishes them ({timestamp in ms, input_length, output_length, hash_ids}), or CSV
 * as the Azure LLM inference traces are (TIMESTAMP,ContextTokens,GeneratedTokens). Entries are put in order of time.
 * Throws ServeError that names the line.
 */
export function parseTrace(text: string): TraceEntry[] {
  const lines = text.split("\n");
  const isCsv = !text.trimStart().startsWith("{");
  const entries: TraceEntry[] = [];
  for (const [index, line] of lines.entries()) {
    if (line.trim() === "" || (isCsv && index === 0)) continue;
    const entry = isCsv ? fromCsv(line) : fromJson(line);
    const numbers = [entry.timestampMs, entry.inputTokens, entry.outputTokens, ...entry.hashIds];
    if (!numbers.every((value) => Number.isFinite(value) && value >= 0))
      throw new ServeError("invalid_argument", `Trace line ${index + 1} is not an entry: ${line.slice(0, 80)}`);
    entries.push(entry);
  }
  if (entries.length === 0) throw new ServeError("invalid_argument", "The trace holds no entries.");
  return entries.sort((a, b) => a.timestampMs - b.timestampMs);
}

function fromCsv(line: string): TraceEntry {
  const [timestamp = "", input = "", output = ""] = line.split(",");
  // Azure's timestamps have no zone and seven decimals of a second, of which Date.parse reads three.
  const timestampMs = Date.parse(`${timestamp.trim().slice(0, 23).replace(" ", "T")}Z`);
  return { timestampMs, inputTokens: Number(input), outputTokens: Number(output), hashIds: [] };
}

function fromJson(line: string): TraceEntry {
  let value: Record<string, unknown> = {};
  try {
    value = JSON.parse(line);
  } catch {
    // Every field is then missing, which the caller reports with the line's number.
  }
  return {
    timestampMs: Number(value.timestamp),
    inputTokens: Number(value.input_length),
    outputTokens: Number(value.output_length),
    hashIds: Array.isArray(value.hash_ids) ? value.hash_ids.map(Number) : [],
  };
}

/** Replays lengths, arrival times and (where the trace has block hashes) the sharing of prefixes; the text is random. */
export function traceWorkload(entries: readonly TraceEntry[], seed: number): Workload {
  return {
    description: `trace of ${entries.length} requests`,
    distinct: entries.length,
    timestampsMs: entries.map((entry) => entry.timestampMs),
    multiTurn: false,
    session(cell: number, index: number, scale: PromptScale): Session {
      const entry = entries[index % entries.length]!;
      const count = Math.max(1, entry.inputTokens - scale.overhead);
      const words: string[] = [];
      for (const id of entry.hashIds) {
        if (words.length >= count) break;
        const rng = makeRng(seed, TRACE_TEXT, cell, id);
        words.push(...randomWords(rng, Math.min(BLOCK_TOKENS, count - words.length), scale));
      }
      const rest = makeRng(seed, TRACE_TEXT, cell, index, 1);
      words.push(...randomWords(rest, count - words.length, scale));
      return { index, turns: [{ content: promptOf(words), maxTokens: Math.max(1, entry.outputTokens) }] };
    },
  };
}
