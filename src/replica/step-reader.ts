import type { TokenLogprob } from "../core/generate.ts";
import { bitsFloat, HEADER_WORDS, RECORD } from "../engine/step-message.ts";

export interface StepHandlers {
  started(id: number, cachedTokens: number, queuedMs: number): void;
  tokens(id: number, tokenIds: number[], logprobs: TokenLogprob[] | undefined, finish: number): void;
  promptScores(id: number, scores: TokenLogprob[]): void;
  preempted(id: number): void;
  failed(id: number, code: number, retryAfterS: number): void;
}

/** Reads the records of a step message; the layout is in engine/step-message.ts. */
export function readStep(message: Int32Array, handlers: StepHandlers): void {
  let at = HEADER_WORDS;
  const readRow = (tokenId: number, top: number): TokenLogprob => {
    const row = {
      tokenId,
      logprob: bitsFloat(message[at]!),
      rank: message[at + 1]!,
      top: [] as TokenLogprob["top"][0][],
    };
    at += 2;
    for (let k = 0; k < top; k++, at += 2)
      row.top.push({ tokenId: message[at]!, logprob: bitsFloat(message[at + 1]!) });
    return row;
  };
  while (at < message.length) {
    const kind = message[at]!;
    const id = message[at + 1]!;
    at += 2;
    switch (kind) {
      case RECORD.started:
        handlers.started(id, message[at]!, bitsFloat(message[at + 1]!));
        at += 2;
        break;
      case RECORD.tokens: {
        const finish = message[at]!;
        const n = message[at + 1]!;
        const top = message[at + 2]!;
        at += 3;
        const tokenIds: number[] = [];
        for (let i = 0; i < n; i++) tokenIds.push(message[at++]!);
        const logprobs = top < 0 ? undefined : tokenIds.map((tokenId) => readRow(tokenId, top));
        handlers.tokens(id, tokenIds, logprobs, finish);
        break;
      }
      case RECORD.prompt: {
        const n = message[at]!;
        const top = message[at + 1]!;
        at += 2;
        const scores: TokenLogprob[] = [];
        for (let i = 0; i < n; i++) scores.push(readRow(message[at++]!, top));
        handlers.promptScores(id, scores);
        break;
      }
      case RECORD.preempted:
        handlers.preempted(id);
        break;
      case RECORD.failed:
        handlers.failed(id, message[at]!, message[at + 1]!);
        at += 2;
        break;
      default:
        throw new Error(`A step message has a record of unknown kind ${kind}.`);
    }
  }
}
