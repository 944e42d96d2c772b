import { expect, test } from "bun:test";
import { ServeError } from "../../src/core/errors.ts";
import { FINISH } from "../../src/engine/step-message.ts";
import { CrashTrials } from "../../src/replica/crash-trials.ts";
import { LocalRequest } from "../../src/replica/local-request.ts";
import { RestartBudget } from "../../src/replica/restart-budget.ts";
import { engineSampling } from "../../src/replica/to-engine.ts";
import { Random } from "../sim/random.ts";
import { makeRequest, wordTokenizer } from "./fixture.ts";

const STEP_MS = 10;
const RESTART_MS = 100;
/** Sequences of a step; the others wait in the engine. */
const SLOTS = 8;

interface Story {
  readonly name: string;
  readonly atMs: number;
  /** Output tokens of an innocent request. */
  readonly tokens: number;
  /** The step that would compute this output token kills the Worker; undefined: innocent. */
  readonly killsAt: number | undefined;
  readonly abortsAtMs: number | undefined;
}

interface Entry {
  readonly story: Story;
  readonly live: LocalRequest;
  /** Tokens the engine has computed, of which the last may not have been told yet. */
  computed: number;
  begun: boolean;
}

/**
 * Crash trials over an engine that is nothing but a list: a step computes a token for each of the first requests, and is
 * told one step later, as in the pipeline of the real one. A step that meets a culprit's place kills the Worker, and what
 * was not told is lost.
 */
class World {
  nowMs = 0;
  dead = false;
  deaths = 0;
  readonly outcome = new Map<string, "ended" | "given up" | "aborted">();
  /** Deaths in whose step a culprit was. */
  readonly killed = new Map<string, number>();
  /** Who was in the steps that killed. */
  readonly companies: string[][] = [];
  readonly #live = new Set<LocalRequest>();
  readonly #entries = new Map<LocalRequest, Entry>();
  #worker: Entry[] = [];
  #ready = true;
  #readyAtMs = 0;
  #canary = false;
  readonly #budget = new RestartBudget({ nowMs: () => this.nowMs, epochS: () => 0 });
  readonly #trials = new CrashTrials(this.#live, 2, {
    submit: (live) => this.#submit(live),
    withdraw: (live) => {
      live.submitted = false;
      this.#worker = this.#worker.filter((entry) => entry.live !== live);
    },
    runCanary: () => void (this.#canary = true),
  });
  /** Extra deaths for no reason. */
  readonly #accident: () => boolean;
  #nextId = 0;

  constructor(accident: () => boolean = () => false) {
    this.#accident = accident;
  }

  run(stories: readonly Story[]): void {
    const arrivals = [...stories].sort((a, b) => a.atMs - b.atMs);
    while (!this.dead && (arrivals.length > 0 || this.#live.size > 0)) {
      this.nowMs += STEP_MS;
      if (this.nowMs > 3_600_000) throw new Error("the requests do not come to an end");
      while (arrivals.length > 0 && arrivals[0]!.atMs <= this.nowMs) this.#arrive(arrivals.shift()!);
      for (const entry of [...this.#entries.values()]) {
        if (entry.story.abortsAtMs !== undefined && entry.story.abortsAtMs <= this.nowMs) this.#end(entry, "aborted");
      }
      if (!this.#ready && this.nowMs >= this.#readyAtMs) {
        this.#ready = true;
        this.#trials.onReady();
      }
      if (this.#ready) this.#step();
    }
  }

  #arrive(story: Story): void {
    const request = makeRequest([1, 2, 3], { maxTokens: 1000, ignoreEos: true });
    const sampling = engineSampling(request.sampling, []);
    const live = new LocalRequest(
      request,
      sampling,
      wordTokenizer,
      () => this.#nextId++,
      this.nowMs,
      () => {},
    );
    this.#entries.set(live, { story, live, computed: 0, begun: false });
    this.#live.add(live);
    this.#trials.admit(live);
  }

  #submit(live: LocalRequest): void {
    if (!this.#ready) return;
    expect(live.submitted).toBe(false);
    live.submitted = true;
    const entry = this.#entries.get(live)!;
    entry.computed = live.choices[0]!.outputTokenIds.length;
    entry.begun = false;
    this.#worker.push(entry);
  }

  #step(): void {
    if (this.#canary) {
      expect(this.#worker).toEqual([]);
      this.#canary = false;
      if (this.#accident()) this.#die();
      else this.#trials.onCanary();
      return;
    }
    const batch = this.#worker.slice(0, SLOTS);
    for (const { live } of batch) live.choices[0]!.begun = true;
    const killers = batch.filter(({ story, computed }) => story.killsAt === computed);
    for (const { story } of killers) this.killed.set(story.name, (this.killed.get(story.name) ?? 0) + 1);
    if (killers.length > 0) this.companies.push(batch.map(({ story }) => story.name));
    if (killers.length > 0 || (batch.length > 0 && this.#accident())) {
      this.#die();
      return;
    }
    // The token of the step before is told now.
    for (const entry of batch) {
      if (entry.begun) this.#tell(entry);
      entry.begun = true;
      entry.computed++;
    }
  }

  #tell(entry: Entry): void {
    const { live, story } = entry;
    if (live.isOver || !live.submitted) return;
    const choice = live.choices[0]!;
    const last = choice.outputTokenIds.length + 1 === story.tokens;
    live.onTokens(choice, [5], undefined, last ? FINISH.length : FINISH.none, this.nowMs);
    if (live.isOver) this.#end(entry, "ended");
    else this.#trials.onProgress(live);
  }

  #end(entry: Entry, outcome: "ended" | "given up" | "aborted"): void {
    const { live, story } = entry;
    this.outcome.set(story.name, outcome);
    if (!live.isOver) live.fail(new ServeError("cancelled", "over"));
    this.#entries.delete(live);
    this.#live.delete(live);
    this.#worker = this.#worker.filter((other) => other !== entry);
    this.#trials.onGone(live);
  }

  #die(): void {
    this.deaths++;
    this.#worker = [];
    this.#ready = false;
    this.#readyAtMs = this.nowMs + RESTART_MS;
    const { guilty, broken } = this.#trials.onDeath(this.#budget.record());
    if (broken || this.#budget.isSpent) this.dead = true;
    else if (guilty) this.#end(this.#entries.get(guilty)!, "given up");
  }
}

function scenario(random: Random, culprits: number, spanMs: number): Story[] {
  const stories: Story[] = [];
  const innocents = random.integer(1, 25);
  for (let i = 0; i < innocents; i++) {
    stories.push({
      name: `innocent ${i}`,
      atMs: random.integer(0, spanMs),
      tokens: random.integer(1, 300),
      killsAt: undefined,
      abortsAtMs: random.integer(0, 9) === 0 ? random.integer(0, spanMs) : undefined,
    });
  }
  for (let i = 0; i < culprits; i++) {
    // Most at their first step; some later; several may come at once.
    const killsAt = random.integer(0, 2) > 0 ? 0 : random.integer(1, 40);
    const atMs = i > 0 && random.integer(0, 2) === 0 ? stories.at(-1)!.atMs : random.integer(0, spanMs);
    const abortsAtMs = random.integer(0, 5) === 0 ? atMs + random.integer(0, 600) : undefined;
    stories.push({ name: `culprit ${i}`, atMs, tokens: 1000, killsAt, abortsAtMs });
  }
  return stories;
}

test("no innocent is given up, every culprit is after at most three deaths, and the process lives on", () => {
  for (let seed = 1; seed <= 150; seed++) {
    const random = new Random(seed);
    // Up to twenty culprits within a minute or less.
    const stories = scenario(random, random.integer(1, 20), random.integer(1, 60) * 1000);
    const world = new World();
    world.run(stories);
    expect(world.dead, `seed ${seed}`).toBe(false);
    for (const { name, killsAt, abortsAtMs } of stories) {
      const outcome = world.outcome.get(name);
      const allowed = [killsAt === undefined ? "ended" : "given up", ...(abortsAtMs === undefined ? [] : ["aborted"])];
      expect(allowed, `seed ${seed}: ${name}`).toContain(outcome!);
      expect(world.killed.get(name) ?? 0, `seed ${seed}: ${name}`).toBeLessThanOrEqual(3);
      // The proof is a death without company.
      if (outcome === "given up") expect(world.companies).toContainEqual([name]);
    }
  }
}, 30_000);

const story = (name: string, atMs: number, rest: Partial<Story> = {}): Story => ({
  name,
  atMs,
  tokens: 100,
  killsAt: undefined,
  abortsAtMs: undefined,
  ...rest,
});

test("two culprits in a row beside a stream", () => {
  const world = new World();
  world.run([
    story("stream", 0, { tokens: 300 }),
    story("first", 500, { killsAt: 0 }),
    story("second", 650, { killsAt: 0 }),
    story("arrival", 700),
  ]);
  expect([...world.outcome]).toEqual([
    ["first", "given up"],
    ["second", "given up"],
    ["arrival", "ended"],
    ["stream", "ended"],
  ]);
  expect(world.deaths).toBeLessThanOrEqual(6);
});

test("ten culprits a minute, one after the other and nobody else, are survived; so are culprits that leave", () => {
  for (const abortsAfterMs of [undefined, 30]) {
    const world = new World();
    world.run(
      Array.from({ length: 16 }, (_, i) =>
        story(`${i}`, i * 3000, {
          killsAt: 0,
          abortsAtMs: abortsAfterMs === undefined ? undefined : i * 3000 + abortsAfterMs,
        }),
      ),
    );
    expect(world.dead).toBe(false);
    expect(new Set(world.outcome.values())).toEqual(new Set([abortsAfterMs === undefined ? "given up" : "aborted"]));
  }
});

test("a stream that kills late is found, though every trial of the others passes", () => {
  for (const killsAt of [1, 2, 3, 17]) {
    const world = new World();
    const streams = Array.from({ length: 7 }, (_, i) => story(`stream ${i}`, 0));
    world.run([...streams.slice(0, 3), story("culprit", 0, { killsAt }), ...streams.slice(3)]);
    expect(world.outcome.get("culprit")).toBe("given up");
    expect(world.killed.get("culprit")).toBeLessThanOrEqual(3);
    for (const { name } of streams) expect(world.outcome.get(name)).toBe("ended");
  }
});

test("Workers that die now and then for no reason cost nobody a request", () => {
  for (let seed = 1; seed <= 25; seed++) {
    const random = new Random(seed);
    let steps = 0;
    // Six accidents a minute at most.
    const world = new World(() => ++steps % (1000 + random.integer(0, 300)) === 0);
    world.run(Array.from({ length: 20 }, (_, i) => story(`${i}`, random.integer(0, 30_000), { tokens: 400 })));
    expect(world.dead).toBe(false);
    expect(new Set(world.outcome.values())).toEqual(new Set(["ended"]));
  }
});

test("an engine that dies of anything is given up, not the requests one by one", () => {
  const world = new World(() => true);
  world.run([story("a", 0), story("b", 0), story("c", 5)]);
  expect(world.dead).toBe(true);
  expect(world.outcome.size).toBeLessThanOrEqual(1);
  expect(world.deaths).toBeLessThanOrEqual(9);
});
