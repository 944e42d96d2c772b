import { FakeBackend, type FakeBackendConfig } from "../../src/backend/fake-backend.ts";
import { Engine } from "../../src/engine/engine.ts";
import { DEFAULT_ENGINE_OPTIONS, type EngineOptions } from "../../src/engine/engine-options.ts";
import { type EngineStats, FINISH } from "../../src/engine/step-message.ts";
import { readStep } from "../../src/replica/step-reader.ts";
import { GREEDY } from "../engine/fixture.ts";
import { Random } from "./random.ts";
import { VirtualClock } from "./simulator.ts";

/** A request of a load, by its sizes; what the tokens are does not matter here. */
export interface LoadRequest {
  readonly atMs: number;
  /** Who it belongs to, for the figures. */
  readonly kind: string;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly tenant?: string;
  readonly priority?: number;
  /** Requests of one prefix share their first tokens. */
  readonly prefix?: { readonly id: number; readonly tokens: number };
}

export interface Served {
  readonly request: LoadRequest;
  readonly tokenMs: number[];
  endMs: number;
}

export interface LoadResult {
  readonly served: readonly Served[];
  readonly stats: EngineStats;
}

/** A device on which a prompt token costs as much as a decode token: a CPU. */
export const CPU_LIKE: FakeBackendConfig = {
  seed: 1,
  vocabSize: 50_000,
  slidingWindow: 0,
  predictability: 0,
  maxModelLen: 16_384,
  blockSize: 16,
  numBlocks: 8192,
  maxNumSeqs: 72,
  maxBatchedTokens: 512,
  maxLogitRows: 72,
  cost: { stepMs: 5, decodeMs: 1, prefillMs: 1, contextMs: 0.05 },
};

/** Serves a load in virtual time; requests arrive in order of atMs. */
export function serveLoad(
  load: readonly LoadRequest[],
  options: Partial<EngineOptions> = {},
  backendConfig: FakeBackendConfig = CPU_LIKE,
): LoadResult {
  const clock = new VirtualClock();
  const backend = new FakeBackend(backendConfig, clock, clock.sleepUntil);
  const served: Served[] = [];
  const engine = new Engine(backend, { ...DEFAULT_ENGINE_OPTIONS, maxQueue: 1e6, ...options }, clock, (message) =>
    readStep(message, {
      started() {},
      tokens(id, tokenIds, _logprobs, finish) {
        for (const _ of tokenIds) served[id]!.tokenMs.push(clock.ms);
        if (finish !== FINISH.none) served[id]!.endMs = clock.ms;
      },
      promptScores() {},
      preempted() {},
      failed(id, code) {
        throw new Error(`request ${id} failed with ${code}`);
      },
    }),
  );
  let next = 0;
  for (;;) {
    for (; next < load.length && load[next]!.atMs <= clock.ms; next++) {
      served.push({ request: load[next]!, tokenMs: [], endMs: Number.NaN });
      add(engine, load[next]!, next);
    }
    // As the Worker does: the next step is decided as late as it may be.
    const nextMs = load[next]?.atMs ?? Number.POSITIVE_INFINITY;
    if (clock.ms < Math.min(engine.decideByMs, nextMs)) {
      clock.sleepUntil(Math.min(engine.decideByMs, nextMs));
      continue;
    }
    if (engine.runOnce()) continue;
    if (next === load.length) break;
    clock.sleepUntil(nextMs);
  }
  return { served, stats: engine.stats };
}

function add(engine: Engine, request: LoadRequest, id: number): void {
  const random = new Random(id);
  const shared = new Random(1_000_000 + (request.prefix?.id ?? 0));
  const prompt = Int32Array.from({ length: request.promptTokens }, (_, i) =>
    (i < (request.prefix?.tokens ?? 0) ? shared : random).integer(0, 49_999),
  );
  engine.add({
    type: "add",
    prompt,
    sampling: { ...GREEDY, maxTokens: request.outputTokens },
    priority: request.priority ?? 0,
    tenant: request.tenant ?? "",
    deadlineInMs: undefined,
    choices: [{ id, index: 0, outputTokens: new Int32Array(0) }],
  });
}

export const ttftMs = ({ request, tokenMs }: Served): number => tokenMs[0]! - request.atMs;

/** Gaps between a stream's tokens. */
export const itlsMs = ({ tokenMs }: Served): number[] => tokenMs.slice(1).map((ms, i) => ms - tokenMs[i]!);

export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!;
}

export const ofKind = (result: LoadResult, kind: string): Served[] =>
  result.served.filter(({ request }) => request.kind === kind);

/** Poisson arrivals of one kind until `untilMs`. */
export function arrivals(
  seed: number,
  meanGapMs: number,
  untilMs: number,
  make: Omit<LoadRequest, "atMs">,
): LoadRequest[] {
  const random = new Random(seed);
  const requests: LoadRequest[] = [];
  for (let atMs = random.exponential(meanGapMs); atMs < untilMs; atMs += random.exponential(meanGapMs)) {
    requests.push({ ...make, atMs });
  }
  return requests;
}

export function merge(...loads: readonly LoadRequest[][]): LoadRequest[] {
  return loads.flat().sort((a, b) => a.atMs - b.atMs);
}
