import { expect, test } from "bun:test";
import { FAIL, FINISH } from "../../src/engine/step-message.ts";
import { Random } from "../sim/random.ts";
import { Harness } from "./harness.ts";

const POISON = 999;

/** Requests of which some hold the poisonous token, over a cache that few of them fit into at once. */
function run(seed: number): void {
  const random = new Random(seed);
  const harness = new Harness(
    { asyncScheduling: random.chance(0.7), maxNumSeqs: random.integer(2, 8) },
    { numBlocks: random.integer(16, 24), faults: { poisonToken: POISON } },
  );
  const requests: { id: number; prompt: number[]; maxTokens: number; poisonous: boolean }[] = [];
  const numPoisonous = random.integer(1, 4);
  for (let i = 0; i < 12; i++) {
    const poisonous = i < numPoisonous;
    let prompt: number[];
    const maxTokens = random.integer(1, 60);
    do {
      prompt = Array.from({ length: random.integer(1, 120) }, () => random.integer(0, POISON - 1));
    } while (harness.expected(prompt, { maxTokens }).includes(POISON));
    if (poisonous) prompt[random.integer(0, prompt.length - 1)] = POISON;
    requests.push({ id: -1, prompt, maxTokens, poisonous });
  }
  requests.sort(() => random.next() - 0.5);
  for (const request of requests) {
    request.id = harness.add(request.prompt, { maxTokens: request.maxTokens });
    harness.turn(random.integer(0, 12));
  }
  harness.finish();
  for (const { id, prompt, maxTokens, poisonous } of requests) {
    const outcome = harness.outcomes[id]!;
    if (poisonous) expect(outcome, `seed ${seed}`).toMatchObject({ failed: FAIL.internal, tokens: [] });
    else {
      const tokens = harness.expected(prompt, { maxTokens });
      expect(outcome, `seed ${seed}`).toMatchObject({ failed: 0, finish: FINISH.length, tokens });
    }
  }
}

test("requests that make steps fail are given up, and no other, however few fit beside each other", () => {
  for (let seed = 1; seed <= 60; seed++) run(seed);
}, 30_000);

test("where no step works any more the process is given up, not the requests one by one", () => {
  const poisonous = (harness: Harness, times: number) => {
    for (let i = 0; i < times; i++) {
      harness.add([1, 2, POISON], { maxTokens: 3 });
      harness.finish();
    }
  };
  const broken = new Harness({}, { faults: { rate: 1 } });
  poisonous(broken, 15);
  expect(() => poisonous(broken, 1)).toThrow("no step works any more");
  expect(broken.outcomes.map(({ failed }) => failed)).toEqual(Array(16).fill(FAIL.internal));
  // Poisonous requests alone are no reason, as long as others get somewhere in between.
  const sound = new Harness({}, { faults: { poisonToken: POISON } });
  for (let i = 0; i < 3; i++) {
    poisonous(sound, 10);
    const id = sound.add([1, 2, 3], { maxTokens: 1 });
    sound.finish();
    expect(sound.outcomes[id]!.tokens.length).toBe(1);
  }
});

test("a suspect whose trial ends with its last token still in flight leaves nobody beside the next one", () => {
  const harness = new Harness({ asyncScheduling: true }, { faults: { poisonToken: POISON } });
  const prompt = (seed: number) => Array.from({ length: 8 }, (_, i) => (seed * 50 + i * 3) % 900);
  // All in one step at first; the first ones are done with a single token.
  const short = [1, 2, 3].map((seed) => harness.add(prompt(seed), { maxTokens: 1 }));
  const long = harness.add(prompt(4), { maxTokens: 20 });
  const poisonous = harness.add([...prompt(5), POISON], { maxTokens: 20 });
  harness.finish();
  for (const [i, id] of short.entries()) {
    expect(harness.outcomes[id]!.tokens).toEqual(harness.expected(prompt(i + 1), { maxTokens: 1 }));
  }
  expect(harness.outcomes[long]!.tokens).toEqual(harness.expected(prompt(4), { maxTokens: 20 }));
  expect(harness.outcomes[poisonous]).toMatchObject({ failed: FAIL.internal, tokens: [] });
});
