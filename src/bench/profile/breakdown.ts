import type { Point } from "../results.ts";
import { mean } from "../stats/distribution.ts";
import { latenciesOf } from "../stats/summary.ts";
import {
  differenceOf,
  type EngineSnapshot,
  KERNELS,
  REQUEST_STAGES,
  type RequestStage,
  type StageSnapshot,
  type Tally,
  TOKEN_STAGES,
  type TokenStage,
} from "./stage-source.ts";

export interface StageShare {
  stage: string;
  what: string;
  /** Of a request (TTFT) or of a gap between tokens (TBT). */
  ms: number;
  /** Of TTFT or TBT. */
  share: number;
}

/** Where the time of a request went at one load. */
export interface Breakdown {
  label: string;
  ttftMs: number;
  tbtMs: number;
  e2eMs: number;
  ttft: StageShare[];
  tbt: StageShare[];
  /** Work of a step that other threads do while the device computes. */
  beside: StageShare[];
  /** All of it as shares of E2E: how much shorter a request would be without the stage. */
  stages: StageShare[];
  /** Steps of pure decode at the full batch; the others hold prefill chunks, or the ends of the load. */
  decode: EngineSnapshot;
  others: EngineSnapshot;
}

/**
 * Splits mean TTFT and mean TBT of a point into stages. Stages of TTFT telescope: they are differences of points in time
 * that every request passed, so they add up to what the client measured. TBT is a step of pure decode by kernel, the
 * device's idle gap, and a rest: the prefill of other requests in between, and what ends of the load add. What other
 * threads do meanwhile is in the way of tokens only as far as it takes cores from the device: `sharedCores` is how many
 * cores the device computes on where those are all there are, else undefined. Undefined when requests failed or no step
 * was seen.
 */
export function breakdownOf(
  point: Point,
  delta: StageSnapshot,
  sharedCores: number | undefined,
): Breakdown | undefined {
  const finished = point.records.flatMap((record) => {
    const latencies = latenciesOf(record);
    return latencies === undefined ? [] : [{ record, latencies }];
  });
  if (finished.length === 0 || delta.requests !== finished.length || delta.engine.steps === 0) return undefined;
  const count = finished.length;
  const ttftMs = mean(finished.map(({ latencies }) => latencies.ttftMs));
  const e2eMs = mean(finished.map(({ latencies }) => latencies.e2eMs));
  const gaps = finished.flatMap(({ latencies }) => latencies.itlMs);
  const tbtMs = gaps.length === 0 ? 0 : mean(gaps);
  const sentMs = mean(finished.map(({ record }) => record.scheduledMs));
  const firstMs = mean(finished.map(({ record }) => record.chunkMs[0]!));
  const { stageMs, boundary } = delta;
  const [messageMs, detokeniseMs] = [meanOf(delta.messages), meanOf(delta.detokenise)];
  const ttftStages: Record<RequestStage, number> = {
    accept: boundary.arrivedMs / count - sentMs,
    auth: stageMs.auth / count,
    parse: stageMs.parse / count,
    template: stageMs.template / count,
    tokenise: stageMs.tokenise / count,
    "text wait": stageMs["text wait"] / count,
    admission: stageMs.admission / count,
    queue: stageMs.queue / count,
    prefill: stageMs.prefill / count - messageMs,
    message: messageMs,
    detokenise: detokeniseMs,
    deliver: stageMs.deliver / count - detokeniseMs,
    format: stageMs.format / count,
    write: firstMs - boundary.formattedMs / count,
  };
  const ttft = REQUEST_STAGES.map(([stage, what]) => shareOf(stage, what, ttftStages[stage], ttftMs));
  const others = differenceOf(delta.decode, delta.engine);
  const tbt = tokenStages(delta.decode, tbtMs);
  const beside = stagesBeside(delta, tbtMs);
  const gapsPerRequest = gaps.length / count;
  const perRequest = (list: readonly StageShare[], factor: number): StageShare[] =>
    list.map(({ stage, what, ms }) => shareOf(`token: ${stage}`, what, ms * factor, e2eMs));
  const stages = [
    ...ttft.filter(({ stage }) => stage !== "prefill").map(({ stage, what, ms }) => shareOf(stage, what, ms, e2eMs)),
    ...prefillByKernel(others, ttftStages.prefill, e2eMs),
    ...perRequest(tbt, gapsPerRequest),
    ...perRequest(beside, sharedCores === undefined ? 0 : gapsPerRequest / sharedCores),
  ];
  stages.sort((a, b) => b.ms - a.ms);
  return {
    label: point.cell.label,
    ttftMs,
    tbtMs,
    e2eMs,
    ttft,
    tbt,
    beside,
    stages,
    decode: delta.decode,
    others,
  };
}

/** The prefill stage in the proportions of kernels in steps that were not pure decode. */
function prefillByKernel(others: EngineSnapshot, prefillMs: number, e2eMs: number): StageShare[] {
  const kernels = Object.entries(others.kernels).filter(([, kernel]) => kernel.ms > 0);
  const inKernels = kernels.reduce((sum, [, kernel]) => sum + kernel.ms, 0);
  if (inKernels === 0) return [shareOf("prefill", "steps up to the first token", prefillMs, e2eMs)];
  return kernels.map(([name, { ms }]) =>
    shareOf(`prefill: ${name}`, KERNELS[name] ?? "", (prefillMs * ms) / inKernels, e2eMs),
  );
}

function tokenStages(decode: EngineSnapshot, tbtMs: number): StageShare[] {
  const steps = Math.max(1, decode.steps);
  const kernels = Object.entries(decode.kernels)
    .filter(([, kernel]) => kernel.ms > 0)
    .map(([name, kernel]) => shareOf(name, KERNELS[name] ?? "", kernel.ms / steps, tbtMs));
  const inKernels = kernels.reduce((sum, kernel) => sum + kernel.ms, 0);
  const [stepMs, gapMs] = [decode.stepMs / steps, decode.gapMs / steps];
  return [
    ...kernels,
    shareOf("step, rest", "of a decode step, in no kernel", stepMs - inKernels, tbtMs),
    shareOf("gap", "device idle: the next step was not ready", gapMs, tbtMs),
    shareOf("in between", "prefill of other requests, the load's ends", tbtMs - stepMs - gapMs, tbtMs),
  ];
}

function stagesBeside({ engine, detokenise, format, write }: StageSnapshot, tbtMs: number): StageShare[] {
  const sums: Record<TokenStage, number> = {
    schedule: engine.scheduleMs - engine.packMs - engine.commitMs,
    pack: engine.packMs,
    commit: engine.commitMs,
    detokenise: detokenise.ms,
    format: format.ms,
    write: write.ms,
  };
  return TOKEN_STAGES.map(([stage, what]) => shareOf(stage, what, sums[stage] / engine.steps, tbtMs));
}

function meanOf({ count, ms }: Tally): number {
  return count === 0 ? 0 : ms / count;
}

function shareOf(stage: string, what: string, ms: number, wholeMs: number): StageShare {
  return { stage, what, ms, share: wholeMs > 0 ? ms / wholeMs : 0 };
}
