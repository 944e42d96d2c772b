import { STATUS } from "../backend/abi.ts";
import { type Backend, BackendError } from "../backend/backend.ts";
import { StepResult } from "../backend/step-layout.ts";
import type { Clock } from "../core/clock.ts";
import { type CommitCounts, commitStep } from "./commit-step.ts";
import type { EngineOptions } from "./engine-options.ts";
import { IdleMemory } from "./idle-memory.ts";
import { LiveSequences } from "./live-sequences.ts";
import type { AddRequest, RequestRefused } from "./messages.ts";
import { StepPacker } from "./pack-step.ts";
import { PromptLookupDrafter } from "./prompt-lookup-drafter.ts";
import { endTrials, MAX_GIVEN_UP_IN_ROW, recover } from "./recovery.ts";
import { refusalOf } from "./refusal.ts";
import { Scheduler } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";
import { type EngineStats, emptyStats, FAIL, FINISH } from "./step-message.ts";
import { StepPlan } from "./step-plan.ts";
import { StepTiming } from "./step-timing.ts";
import { StepWriter } from "./step-writer.ts";
import { Throughput } from "./throughput.ts";

/**
 * The engine: requests in, one message a step out. runOnce() does one turn of
 *
 *   schedule N+1 ► pack ► submit N+1 ► wait N ► commit N ► post
 *
 * so that the device goes from step N to N+1 without waiting for this thread. A token that step N is still computing
 * enters step N+1 as "what slot s sampled". Synchronous, no I/O; time comes from the clock.
 */
export class Engine {
  readonly scheduler: Scheduler;
  readonly stats: EngineStats = emptyStats();
  readonly #backend: Backend;
  readonly #clock: Clock;
  readonly #post: (message: Int32Array) => void;
  readonly #async: boolean;
  readonly #sequences: LiveSequences;
  readonly #packer = new StepPacker();
  readonly #writer = new StepWriter();
  readonly #throughput = new Throughput();
  readonly #result: StepResult;
  readonly #timing = new StepTiming();
  readonly #counts: CommitCounts = { outputTokens: 0, draftTokens: 0, acceptedDraftTokens: 0 };
  readonly #spare: StepPlan[];
  readonly #idle: IdleMemory;
  readonly #finish = (sequence: Sequence) => this.#end(sequence);
  readonly #failed = (sequence: Sequence, error: unknown) => this.#giveUp(sequence.id, refusalOf(sequence.id, error)!);
  /** Told why a sequence alone cannot go on; its FAILED record follows. */
  onRefused: (refusal: RequestRefused) => void = () => {};
  #inFlight: StepPlan | undefined;
  #numWaitingRequests = 0;
  /** Sequences given up since a step last worked. */
  #givenUpInRow = 0;
  /** An abort has no record, but changes what runs: it is told even when no step follows. */
  #statsChanged = false;

  /** `post` receives the step messages of step-message.ts; it owns each. */
  constructor(backend: Backend, options: EngineOptions, clock: Clock, post: (message: Int32Array) => void) {
    if (backend.info.numBlocks * backend.info.blockSize < backend.info.maxModelLen) {
      throw new Error("The KV cache must hold at least one sequence of maxModelLen tokens.");
    }
    this.#backend = backend;
    this.#clock = clock;
    this.#post = post;
    this.#sequences = new LiveSequences(options.sharePrefixCache);
    // A draft starts from tokens that are known, so speculation waits for each step.
    this.#async = options.asyncScheduling && options.speculativeTokens === 0;
    const drafter = options.speculativeTokens > 0 ? new PromptLookupDrafter() : undefined;
    this.scheduler = new Scheduler(backend.info, options, (sequence) => this.#setSlot(sequence), drafter);
    this.scheduler.onStart = (sequence, cachedTokens) => this.#started(sequence, cachedTokens);
    this.scheduler.onPreempt = (sequence) => this.#writer.preempted(sequence);
    const newPlan = () => new StepPlan(backend.info.maxNumSeqs, options.speculativeTokens);
    this.#spare = [newPlan(), newPlan()];
    this.#result = new StepResult(backend.info.maxLogitRows);
    this.#idle = new IdleMemory(backend, this.scheduler.blocks, { timeoutMs: options.kvIdleTimeoutMs });
    this.stats.kvBlocksTotal = backend.info.numBlocks;
  }

  /** Sequences that have not ended. */
  get numLive(): number {
    return this.#sequences.size;
  }

  get isIdle(): boolean {
    return this.#sequences.size === 0 && !this.#inFlight;
  }

  /** Queues a request, or ends it with a FAILED record for each choice. Never throws: a request fails alone. */
  add(request: AddRequest): void {
    try {
      this.#add(request);
    } catch (error) {
      for (const { id } of request.choices) this.#giveUp(id, refusalOf(id, error)!);
      this.#flush();
    }
  }

  #add(request: AddRequest): void {
    const { info, options } = this.scheduler;
    if (request.prompt.length >= info.maxModelLen) {
      this.#refuse(request, FAIL.tooLong, 0);
      return;
    }
    // One that has output was admitted before: it goes on, after a fault or behind a slow reader.
    const begun = request.choices.some(({ outputTokens }) => outputTokens.length > 0);
    if (!begun && this.#numWaitingRequests >= options.maxQueue) {
      this.#refuse(request, FAIL.overloaded, this.#throughput.secondsFor(this.scheduler.queue.numTokens));
      return;
    }
    const { choices } = this.#sequences.open(request, info.maxModelLen, this.#clock.nowMs());
    this.#numWaitingRequests++;
    const [first] = choices;
    for (const sequence of choices) this.#endIfComplete(sequence);
    if (first!.state === "held") this.#enqueue(first!);
  }

  /** Ends a sequence without a word; unknown ids (it ended meanwhile) are ignored. */
  abort(id: number): void {
    const sequence = this.#sequences.get(id);
    if (!sequence) return;
    this.#end(sequence);
    this.#statsChanged = true;
  }

  /** One turn of the loop. False when there is nothing to do until a message comes. Throws sticky BackendErrors. */
  runOnce(): boolean {
    this.#expire();
    if (this.isIdle) {
      this.#flush();
      return false;
    }
    const startMs = this.#clock.nowMs();
    this.scheduler.blocks.memory.nowMs = startMs;
    this.#idle.interrupt();
    const before = this.#inFlight;
    const next = this.#prepare();
    this.stats.scheduleMs += this.#clock.nowMs() - startMs;
    if (next === "failed") return true;
    this.#inFlight = next;
    if (before) this.#finishStep(before, next);
    else if (!next && this.#sequences.size > 0)
      throw new Error("The scheduler found nothing to do for live sequences.");
    else if (next && !this.#async) {
      this.#inFlight = undefined;
      this.#finishStep(next, undefined);
    }
    this.#flush();
    return true;
  }

  /** A short slice of what an idle engine does with its memory. Returns when to call again, in ms; Infinity: after work. */
  rest(): number {
    const { blocks } = this.scheduler;
    const { numResident } = blocks.memory;
    const numCached = blocks.cache?.numCached;
    const waitMs = this.#idle.tend(this.#clock.nowMs());
    this.#statsChanged ||= blocks.memory.numResident !== numResident || blocks.cache?.numCached !== numCached;
    // What changed is told once, when this has come to its end.
    if (waitMs > 0) this.#flush();
    return waitMs;
  }

  /**
   * Time, on the clock, until which the next turn can wait while a step computes: what arrives by then is still in the
   * next step. Now, when there is no step to wait for or its time is not yet known.
   */
  get decideByMs(): number {
    return this.#timing.decideByMs(this.#inFlight, this.scheduler.costs);
  }

  /** Throws unless the KV blocks' books are right. For tests, between turns. */
  checkInvariants(): void {
    this.scheduler.blocks.checkInvariants(this.scheduler.running);
  }

  /** Plans, packs and submits a step; undefined when there is nothing to compute now. */
  #prepare(): StepPlan | undefined | "failed" {
    const plan = this.#spare.pop()!;
    this.scheduler.schedule(plan);
    if (plan.numSeqs === 0) {
      this.#spare.push(plan);
      return undefined;
    }
    const decidedMs = this.#clock.nowMs();
    // Who starts is told before the step: should it take this thread with it, the replica knows whom to suspect.
    this.#flush();
    try {
      const step = this.#pack(plan);
      this.stats.packMs += this.#clock.nowMs() - decidedMs;
      plan.ticket = this.#backend.submit(step);
    } catch (error) {
      this.#fail(error, plan, this.#inFlight);
      return "failed";
    }
    plan.submittedMs = this.#clock.nowMs();
    plan.step = ++this.scheduler.submitted;
    this.#notePrompts(plan);
    return plan;
  }

  #pack(plan: StepPlan): Int32Array {
    try {
      return this.#packer.pack(plan, this.scheduler.blocks);
    } catch (cause) {
      // The device has seen nothing: a failed step like any other, and whoever makes steps fail is found alone.
      throw new BackendError(STATUS.memory, `packing a step failed: ${cause}`);
    }
  }

  #finishStep(plan: StepPlan, next: StepPlan | undefined): void {
    const words = this.#result.layOut(plan.numRows, StepPacker.maxTop(plan));
    try {
      this.#backend.wait(plan.ticket, words);
    } catch (error) {
      this.#fail(error, plan, next);
      return;
    }
    const doneMs = this.#clock.nowMs();
    this.#givenUpInRow = 0;
    this.scheduler.done = plan.step;
    this.scheduler.slots.settle(plan.step);
    this.#observe(plan, doneMs);
    commitStep(this.scheduler, plan, this.#result, this.#writer, this.#counts, this.#finish, this.#failed);
    endTrials(this.scheduler);
    this.#spare.push(plan);
    // Nothing left: what follows is no gap but rest.
    this.#timing.lastDoneMs = this.#sequences.size > 0 ? doneMs : 0;
    const committedMs = this.#clock.nowMs();
    this.stats.commitMs += committedMs - doneMs;
    this.stats.scheduleMs += committedMs - doneMs;
  }

  #observe(plan: StepPlan, doneMs: number): void {
    this.stats.gapMs += this.#timing.idleMs(doneMs, this.#backend.stepMs());
    const ms = doneMs - Math.max(plan.submittedMs, this.#timing.lastDoneMs);
    this.scheduler.costs.observe(plan.numDecodes, plan.numPrefill, plan.numContext, ms);
    this.#throughput.observe(plan.numTokens, ms);
    this.stats.steps++;
    this.stats.stepMs += ms;
    this.stats.computedTokens += plan.numTokens;
  }

  /** A failed step: everything in flight is computed again. A sticky error is rethrown: this process cannot go on. */
  #fail(error: unknown, failed: StepPlan, other: StepPlan | undefined): void {
    if (!(error instanceof BackendError) || error.sticky) throw error;
    this.#backend.reset();
    this.#inFlight = undefined;
    this.#timing.lastDoneMs = 0;
    this.stats.faults++;
    const lost = other ? [other] : [];
    const givenUp = recover(this.scheduler, failed, lost);
    this.scheduler.done = this.scheduler.submitted;
    for (const sequence of givenUp) {
      this.#writer.failed(sequence.id, FAIL.internal, 0);
      this.#end(sequence);
    }
    this.#spare.push(failed, ...lost);
    this.#flush();
    this.#givenUpInRow += givenUp.length;
    if (this.#givenUpInRow >= MAX_GIVEN_UP_IN_ROW) {
      throw new BackendError(STATUS.device, `no step works any more: ${error.message}`);
    }
  }

  #enqueue(sequence: Sequence): void {
    const { blocks, queue } = this.scheduler;
    const cached = blocks.probe(sequence.tokens, sequence.numTokens, sequence.group.account.salt);
    queue.push(sequence, sequence.numTokens - cached);
  }

  /** A stream that was moved here with nothing left to do. */
  #endIfComplete(sequence: Sequence): void {
    const { numOutput, numTokens, tokens, maxTokens } = sequence;
    const { minTokens, stopIds } = sequence.group.sampling;
    const last = numOutput > 0 ? tokens[numTokens - 1]! : -1;
    const stopped = numOutput > minTokens && stopIds.includes(last);
    if (!stopped && numOutput < maxTokens) return;
    this.#writer.tokens(sequence, numTokens, stopped ? FINISH.stop : FINISH.length, this.#result, 0);
    this.#end(sequence);
    this.#flush();
  }

  /** Where a request's first choice has its whole prompt in a submitted step, the other choices can share its blocks. */
  #notePrompts(plan: StepPlan): void {
    for (let i = 0; i < plan.numSeqs; i++) {
      const sequence = plan.seqs[i]!;
      const { choices } = sequence.group;
      if (choices.length === 1 || choices[0] !== sequence || plan.sampleRows[i] === 0) continue;
      sequence.promptSubmitted = true;
      this.#releaseHeld(choices);
    }
  }

  #releaseHeld(choices: readonly Sequence[]): void {
    for (const sequence of choices) if (sequence.state === "held" && !sequence.started) this.#enqueue(sequence);
  }

  #started(sequence: Sequence, cachedTokens: number): void {
    if (sequence === sequence.group.choices[0]) {
      this.#numWaitingRequests--;
      this.stats.promptTokens += sequence.numPrompt;
      this.stats.cachedTokens += cachedTokens;
    }
    this.#writer.started(sequence, cachedTokens, this.#clock.nowMs() - sequence.group.arrivedMs);
  }

  /** Takes a sequence out of everything. What a step in flight still computes for it will be dropped. */
  #end(sequence: Sequence): void {
    const { scheduler } = this;
    if (sequence.state === "running") scheduler.vacate(sequence);
    else if (sequence.state === "waiting") scheduler.queue.remove(sequence);
    sequence.state = "finished";
    endTrials(scheduler);
    this.#sequences.close(sequence);
    const { choices } = sequence.group;
    if (sequence !== choices[0]) return;
    if (!sequence.started) this.#numWaitingRequests--;
    // Its siblings cannot wait for it any more.
    this.#releaseHeld(choices);
  }

  #expire(): void {
    const nowMs = this.#clock.nowMs();
    for (let late = this.#sequences.popExpired(nowMs); late; late = this.#sequences.popExpired(nowMs)) {
      this.#writer.failed(late.id, FAIL.deadline, 0);
      this.#end(late);
    }
  }

  #refuse(request: AddRequest, code: number, retryAfterS: number): void {
    for (const choice of request.choices) this.#writer.failed(choice.id, code, retryAfterS);
    this.#flush();
  }

  /** False where the backend refuses these parameters: that ends the sequence, and no other. */
  #setSlot(sequence: Sequence): boolean {
    const { sampling } = sequence.group;
    try {
      this.#backend.setSlot(sequence.slot, {
        ...sampling,
        seed: sequence.seed,
        promptTokens: sequence.group.prompt,
        outputTokens: sequence.tokens.subarray(sequence.numPrompt, sequence.numTokens),
      });
      return true;
    } catch (error) {
      const refusal = refusalOf(sequence.id, error);
      if (refusal === undefined) throw error;
      this.#giveUp(sequence.id, refusal);
      return false;
    }
  }

  /** Ends one sequence for a reason of its own. */
  #giveUp(id: number, refusal: RequestRefused): void {
    this.onRefused(refusal);
    this.#writer.failed(id, FAIL.refused, 0);
    const sequence = this.#sequences.get(id);
    if (sequence) this.#end(sequence);
  }

  #flush(): void {
    if (this.#writer.isEmpty && !this.#statsChanged) return;
    this.#statsChanged = false;
    const { scheduler, stats } = this;
    stats.running = scheduler.running.size;
    stats.waiting = this.#sequences.size - stats.running;
    stats.kvBlocksUsed = scheduler.blocks.numUsed;
    stats.kvBlocksCached = scheduler.blocks.cache?.numCached ?? 0;
    stats.kvBlocksResident = scheduler.blocks.memory.numResident;
    stats.outputTokens = this.#counts.outputTokens;
    stats.draftTokens = this.#counts.draftTokens;
    stats.acceptedDraftTokens = this.#counts.acceptedDraftTokens;
    stats.preemptions = scheduler.numPreemptions;
    stats.queuedTokens = scheduler.queue.numTokens;
    stats.tokensPerS = this.#throughput.tokensPerS;
    stats.postedMs = this.#clock.nowMs();
    this.#post(this.#writer.take(stats));
  }
}
