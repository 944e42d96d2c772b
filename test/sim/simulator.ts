import { FakeBackend } from "../../src/backend/fake-backend.ts";
import type { Clock } from "../../src/core/clock.ts";
import { Engine } from "../../src/engine/engine.ts";
import { FAIL, FINISH } from "../../src/engine/step-message.ts";
import { readStep, type StepHandlers } from "../../src/replica/step-reader.ts";
import type { Scenario, SimRequest } from "./scenario.ts";

/** Time that passes only when the simulator or the fake device says so. */
export class VirtualClock implements Clock {
  ms = 0;
  nowMs(): number {
    return this.ms;
  }
  epochS(): number {
    return Math.floor(this.ms / 1000);
  }
  readonly sleepUntil = (ms: number): void => {
    this.ms = Math.max(this.ms, ms);
  };
}

/** What the outside knows of one choice. */
interface Client {
  readonly id: number;
  readonly request: SimRequest;
  readonly index: number;
  /** Output tokens it has, resumed ones included. */
  got: number;
  started: boolean;
  ended: "" | "finished" | "aborted" | "refused" | "expired" | "given up";
  numScored: number;
}

export interface SimResult {
  readonly steps: number;
  readonly tokens: number;
  readonly preemptions: number;
  readonly cachedTokens: number;
  readonly acceptedDrafts: number;
  readonly faults: number;
  /** KV blocks whose memory went back. */
  readonly releasedBlocks: number;
}

/** Counts the blocks that an engine gives back. */
class CountingBackend extends FakeBackend {
  numReleased = 0;

  override release(firstBlock: number, numBlocks: number): void {
    super.release(firstBlock, numBlocks);
    this.numReleased += numBlocks;
  }
}

/** Runs a scenario to its end and checks every promise on the way. Throws what went wrong. */
export function simulate(scenario: Scenario): SimResult {
  return new Simulation(scenario).run();
}

class Simulation {
  readonly #scenario: Scenario;
  readonly #clock = new VirtualClock();
  readonly #backend: CountingBackend;
  readonly #engine: Engine;
  readonly #clients = new Map<number, Client>();
  readonly #handlers: StepHandlers;
  #nextId = 1;

  constructor(scenario: Scenario) {
    this.#scenario = scenario;
    this.#backend = new CountingBackend(scenario.backend, this.#clock, this.#clock.sleepUntil);
    this.#handlers = this.#makeHandlers();
    this.#engine = new Engine(this.#backend, scenario.options, this.#clock, (message) =>
      readStep(message, this.#handlers),
    );
  }

  run(): SimResult {
    const arrivals = [...this.#scenario.requests];
    const aborts: { atMs: number; ids: number[] }[] = [];
    let turns = 0;
    // Every token once, and again after each of many preemptions; more means that nothing moves.
    const tokens = arrivals.reduce((sum, { prompt, sampling, n }) => sum + n * (prompt.length + sampling.maxTokens), 0);
    const mostTurns = 10_000 + 20 * tokens;
    for (;;) {
      while (arrivals.length > 0 && arrivals[0]!.atMs <= this.#clock.ms) this.#arrive(arrivals.shift()!, aborts);
      for (const abort of aborts)
        if (abort.atMs <= this.#clock.ms) for (const id of abort.ids.splice(0)) this.#abort(id);
      // As the Worker does: the next step is decided as late as it may be.
      const nextMs = Math.min(arrivals[0]?.atMs ?? Number.POSITIVE_INFINITY, ...aborts.map(({ atMs }) => atMs));
      if (this.#clock.ms < Math.min(this.#engine.decideByMs, nextMs)) {
        this.#clock.sleepUntil(Math.min(this.#engine.decideByMs, nextMs));
        continue;
      }
      const busy = this.#engine.runOnce();
      this.#engine.checkInvariants();
      if (++turns > mostTurns) throw new Error(`not done after ${turns} turns`);
      if (busy) continue;
      if (arrivals.length === 0) break;
      this.#rest(arrivals[0]!.atMs, turns % 4);
    }
    this.#checkEnd();
    const { stats } = this.#engine;
    return {
      steps: stats.steps,
      tokens: stats.outputTokens,
      preemptions: stats.preemptions,
      cachedTokens: stats.cachedTokens,
      acceptedDrafts: stats.acceptedDraftTokens,
      faults: stats.faults,
      releasedBlocks: this.#backend.numReleased,
    };
  }

  /** As the Worker does until the next arrival, which may come after any slice. */
  #rest(untilMs: number, slices: number): void {
    for (let left = slices; left > 0 && this.#clock.ms < untilMs; left--) {
      const waitMs = this.#engine.rest();
      this.#engine.checkInvariants();
      if (waitMs > 0) this.#clock.sleepUntil(Math.min(untilMs, this.#clock.ms + waitMs));
    }
    this.#clock.sleepUntil(untilMs);
  }

  #arrive(request: SimRequest, aborts: { atMs: number; ids: number[] }[]): void {
    const choices = request.expected.map((expected, index) => {
      const id = this.#nextId++;
      const client: Client = { id, request, index, got: request.resumed, started: false, ended: "", numScored: 1 };
      this.#clients.set(id, client);
      return { id, index, outputTokens: Int32Array.from(expected.slice(0, request.resumed)) };
    });
    if (request.abortAfterMs !== undefined) {
      aborts.push({ atMs: request.atMs + request.abortAfterMs, ids: choices.map(({ id }) => id) });
    }
    const { prompt, sampling, priority, tenant, deadlineInMs } = request;
    this.#engine.add({ type: "add", prompt, sampling, priority, tenant, deadlineInMs, choices });
  }

  #abort(id: number): void {
    const client = this.#clients.get(id)!;
    if (client.ended === "") client.ended = "aborted";
    this.#engine.abort(id);
  }

  #makeHandlers(): StepHandlers {
    const live = (id: number, what: string): Client => {
      const client = this.#clients.get(id);
      if (!client) throw new Error(`${what} for ${id}, which nobody asked for`);
      if (client.ended !== "") throw new Error(`${what} for ${id}, which is ${client.ended}`);
      return client;
    };
    return {
      started: (id) => {
        const client = live(id, "a start");
        if (client.started) throw new Error(`${id} started twice`);
        client.started = true;
      },
      tokens: (id, tokenIds, logprobs, finish) => {
        const client = live(id, "tokens");
        const { expected, sampling, poison } = client.request;
        if (poison) throw new Error(`${id} is poisonous and got tokens`);
        const output = expected[client.index]!;
        for (const token of tokenIds) {
          if (token !== output[client.got]) {
            throw new Error(`token ${client.got} of ${id} is ${token}, not ${output[client.got]}`);
          }
          client.got++;
        }
        if ((logprobs === undefined) !== sampling.logprobs < 0) throw new Error(`logprobs of ${id}`);
        const over = client.got === output.length;
        const stops = over && sampling.stopIds.includes(output.at(-1)!);
        const right = over ? (stops ? FINISH.stop : FINISH.length) : FINISH.none;
        if (finish !== right)
          throw new Error(`${id} has ${client.got} of ${output.length} tokens and finish ${finish}`);
        if (over) client.ended = "finished";
        // A stream that came complete has had its scores elsewhere.
        const moved = client.request.resumed === output.length;
        if (
          !moved &&
          sampling.promptLogprobs >= 0 &&
          client.index === 0 &&
          client.numScored !== client.request.prompt.length
        ) {
          throw new Error(`${id} has ${client.numScored} prompt scores`);
        }
      },
      promptScores: (id, scores) => {
        const client = live(id, "scores");
        for (const { tokenId } of scores) {
          if (tokenId !== client.request.prompt[client.numScored++]) throw new Error(`prompt scores of ${id}`);
        }
      },
      preempted: (id) => void live(id, "a preemption"),
      failed: (id, code) => {
        const client = live(id, "a failure");
        if (code === FAIL.overloaded) client.ended = "refused";
        else if (code === FAIL.deadline && client.request.deadlineInMs !== undefined) client.ended = "expired";
        else if (code === FAIL.internal && client.request.poison) client.ended = "given up";
        else throw new Error(`${id} failed with ${code}`);
        if (code === FAIL.overloaded && this.#scenario.options.maxQueue > 100) throw new Error(`${id} was refused`);
      },
    };
  }

  #checkEnd(): void {
    for (const { id, ended } of this.#clients.values()) if (ended === "") throw new Error(`${id} never ended`);
    const { scheduler } = this.#engine;
    const used = scheduler.blocks.numUsed;
    if (used !== 0) throw new Error(`${used} blocks are still used`);
    if (scheduler.slots.numFree !== scheduler.slots.size) throw new Error(`${scheduler.slots.numFree} slots are free`);
    if (this.#engine.numLive + scheduler.running.size + scheduler.queue.length + scheduler.queue.numTokens !== 0) {
      throw new Error("sequences are left over");
    }
    scheduler.queue.dropEmptyClasses();
    if (scheduler.queue.classes.length + scheduler.trials.length !== 0)
      throw new Error(
        `the queue is not empty: ${scheduler.queue.classes.length} classes, ${scheduler.trials.length} trials`,
      );
  }
}
