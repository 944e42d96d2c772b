import { describe, expect, test } from "bun:test";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { locateLibrary } from "../../src/backend/library.ts";
import type { NativeModel } from "../../src/backend/native-model.ts";
import { Random } from "../sim/random.ts";
import { GREEDY } from "./fixture.ts";
import { loadModel, type NativeRequest, type RunOptions, run, type Transcript, unload } from "./native-run.ts";

/**
 * The same request gives the same bits whatever happens around it: tokens, logprobs and ranks, greedy and sampled,
 * for every golden checkpoint and the bundled model.
 */
const ROOT = join(import.meta.dir, "../..");
const GOLDENS = join(ROOT, "test/fixtures/goldens");
const BUNDLED = join(ROOT, "models/SmolLM2-135M-Instruct.Q4_1.gguf");
const TIMEOUT_MS = 300_000;
const library = await locateLibrary();

const PLAIN = { ...GREEDY, maxTokens: 12, seed: 7, logprobs: 0 };
const SAMPLED = { ...PLAIN, temperature: 1, topK: 40, topP: 0.95, repetitionPenalty: 1.1, frequencyPenalty: 0.2 };

function request(random: Random, vocabSize: number, length: number, sampled: boolean): NativeRequest {
  const prompt = Int32Array.from({ length }, () => random.integer(0, vocabSize - 1));
  return { prompt, sampling: { ...(sampled ? SAMPLED : PLAIN), seed: random.integer(0, 1e9) } };
}

/** The two that are watched, and company of all lengths. */
function requests(model: NativeModel, company: number) {
  const random = new Random(11);
  const watched = [request(random, model.vocabSize, 37, false), request(random, model.vocabSize, 70, true)];
  const others = Array.from({ length: company }, (_, i) =>
    request(random, model.vocabSize, random.integer(1, 60), i % 2 === 0),
  );
  return { watched, others };
}

function suite(name: string, place: string): void {
  describe(name, () => {
    const model = loadModel(place, library);
    const { watched, others } = requests(model, 62);
    const alone: Transcript[] = watched.map(
      (one) =>
        run(model, [[one]], { threads: 1, engine: { asyncScheduling: false, maxNumBatchedTokens: 512 } })
          .transcripts[0]!,
    );

    /** Runs the watched ones in `waves` and compares: `at` says where they are. */
    const same = (waves: readonly (readonly NativeRequest[])[], at: number, options: RunOptions) => {
      const result = run(model, waves, options);
      expect(result.transcripts.slice(at, at + watched.length)).toEqual(alone);
      return result;
    };

    test(
      "in a batch of 64, asynchronous, two threads",
      () => {
        expect(alone[0]!.length).toBe(12);
        same([[...others.slice(0, 31), ...watched, ...others.slice(31)]], 31, { engine: { asyncScheduling: true } });
      },
      TIMEOUT_MS,
    );

    test(
      "in chunks of other sizes, synchronous",
      () => {
        for (const maxNumBatchedTokens of [19, 32, 53]) {
          same([watched], 0, { engine: { maxNumBatchedTokens, asyncScheduling: false } });
        }
      },
      TIMEOUT_MS,
    );

    test(
      "after a prefix hit, three threads",
      () => {
        const { cachedTokens } = same([watched, watched], 2, { threads: 3, engine: { prefixCaching: true } });
        expect(cachedTokens).toBe(32 + 64);
      },
      TIMEOUT_MS,
    );

    test(
      "in memory that was given back in between, beside prefixes that were kept or forgotten",
      () => {
        const waves = [[...watched, ...others.slice(0, 8)], watched, watched];
        for (const [kvIdleTimeoutMs, hits] of [
          [1e9, 2],
          [10_000, 0],
        ] as const) {
          const { cachedTokens } = same(waves, watched.length + 8, {
            engine: { prefixCaching: true, kvIdleTimeoutMs },
            restMs: 20_000,
          });
          expect(cachedTokens).toBe(hits * (32 + 64));
        }
      },
      TIMEOUT_MS,
    );

    test(
      "after preemption",
      () => {
        // Blocks for about half of them at their longest; the watched ones are the youngest, so they give way.
        const rest = others.slice(0, 8);
        const { preemptions } = same([[...rest, ...watched]], rest.length, {
          numBlocks: model.slidingWindow > 0 ? 16 : 26,
          engine: { maxNumSeqs: 10 },
        });
        expect(preemptions).toBeGreaterThan(0);
      },
      TIMEOUT_MS,
    );

    test(
      "with drafts",
      () => {
        // Two letters to write with: pairs repeat soon, so there is something to draft, rightly or wrongly.
        const letters = [5, 6].map((id) => [id, 100] as const);
        const looped = { ...watched[1]!, sampling: { ...SAMPLED, logitBias: letters, maxTokens: 24 } };
        const plain = run(model, [[looped]]).transcripts[0]!;
        const drafted = run(model, [[looped, ...watched]], { engine: { speculativeTokens: 4 } });
        expect(drafted.draftTokens).toBeGreaterThan(0);
        expect(drafted.transcripts[0]).toEqual(plain);
        expect(drafted.transcripts.slice(1)).toEqual(alone);
      },
      TIMEOUT_MS,
    );

    test("the model is freed", () => unload(model));
  });
}

const names = readdirSync(GOLDENS).filter((name) => statSync(join(GOLDENS, name)).isDirectory());
for (const name of names) suite(name, join(GOLDENS, name));
suite("bundled model", BUNDLED);
