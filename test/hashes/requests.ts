import type { EngineSampling } from "../../src/engine/sequence.ts";
import { GREEDY } from "../engine/fixture.ts";
import { Random } from "../sim/random.ts";

/** Every way to choose a token, each beside every kind of report. */
const SAMPLINGS: readonly Partial<EngineSampling>[] = [
  {},
  { logprobs: 0 },
  { temperature: 1, logprobs: 5 },
  { temperature: 0.7, topK: 40, logprobs: 20 },
  { temperature: 1.3, topP: 0.9, promptLogprobs: 2 },
  { temperature: 1, minP: 0.05, logprobs: 1 },
  { repetitionPenalty: 1.2, logprobs: 0 },
  { temperature: 0.9, topK: 50, topP: 0.95, frequencyPenalty: 0.3, presencePenalty: 0.2, logprobs: 3 },
  {
    temperature: 1,
    logitBias: [
      [5, 4],
      [7, -100],
    ],
    logprobs: 0,
  },
  {
    temperature: 1,
    topK: 8,
    logitBias: [
      [5, 100],
      [6, 100],
    ],
    maxTokens: 24,
    logprobs: 0,
  },
  { temperature: 2, stopIds: Int32Array.of(3, 4, 5), minTokens: 4, logprobs: 0 },
];

/** Prompts of fixed seeds and many lengths, some of which share a prefix. */
export function makeRequests(vocabSize: number, count: number): { prompt: Int32Array; sampling: EngineSampling }[] {
  const random = new Random(29);
  const shared = Array.from({ length: 40 }, () => random.integer(0, vocabSize - 1));
  return Array.from({ length: count }, (_, i) => {
    const own = Array.from({ length: random.integer(1, 70) }, () => random.integer(0, vocabSize - 1));
    const prompt = Int32Array.from(i % 3 === 0 ? [...shared, ...own] : own);
    const sampling = SAMPLINGS[i % SAMPLINGS.length]!;
    return { prompt, sampling: { ...GREEDY, maxTokens: 10, seed: random.integer(0, 1e9), ...sampling } };
  });
}
