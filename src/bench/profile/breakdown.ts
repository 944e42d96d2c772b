import type { Point } from "../results.ts";
import { mean } from "../stats/distribution.ts";
import { latenciesOf } from "../stats/summary.ts";
import { differenceOf, type EngineSnapshot, REQUEST_STAGES, type StageSnapshot } from "./stage-source.ts";

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
  /** Spent beside the device, not in the way of tokens: ms a step. */
  hiddenScheduleMs: number;
  stages: StageShare[];
  /** Steps of pure decode at the full batch; the others hold prefill chunks, or the ends of the load. */
  decode: EngineSnapshot;
  others: EngineSnapshot;
}

/**
 * Splits mean TTFT and mean TBT of a point into stages. Stages of TTFT telescope: they are differences of points in time
 * that every request passed, so they add up to what the client measured. TBT is a step of pure decode by kernel, the
 * device's idle gap, the formatting of an event, and a rest that nothing measures apart: prefill chunks of other requests
 * in between, message, detokeniser, socket, client. Undefined when requests failed or no step was seen.
 */
export function breakdownOf(point: Point, delta: StageSnapshot): Breakdown | undefined {
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
  const ttftStages: Record<string, number> = {
    accept: delta.boundary.arrivedMs / count - sentMs,
    write: firstMs - delta.boundary.deliveredMs / count,
  };
  for (const [stage, sumMs] of Object.entries(delta.stageMs)) ttftStages[stage] = sumMs / count;
  const ttft = REQUEST_STAGES.map(([stage, what]) => shareOf(stage, what, ttftStages[stage] ?? 0, ttftMs));
  const others = differenceOf(delta.decode, delta.engine);
  const tbt = tokenStages(delta, tbtMs);
  const gapsPerRequest = gaps.length / count;
  const stages = [
    ...ttft.filter(({ stage }) => stage !== "prefill"),
    ...prefillByKernel(others, ttftStages.prefill ?? 0),
    ...tbt.map(({ stage, what, ms }) => ({ stage: `token: ${stage}`, what, ms: ms * gapsPerRequest, share: 0 })),
  ].map(({ stage, what, ms }) => shareOf(stage, what, ms, e2eMs));
  stages.sort((a, b) => b.ms - a.ms);
  return {
    label: point.cell.label,
    ttftMs,
    tbtMs,
    e2eMs,
    ttft,
    tbt,
    hiddenScheduleMs: Math.max(0, delta.engine.scheduleMs - delta.engine.gapMs) / delta.engine.steps,
    stages,
    decode: delta.decode,
    others,
  };
}

/** The prefill stage in the proportions of kernels in steps that were not pure decode. */
function prefillByKernel(others: EngineSnapshot, prefillMs: number): StageShare[] {
  const kernels = Object.entries(others.kernels).filter(([, kernel]) => kernel.ms > 0);
  const inKernels = kernels.reduce((sum, [, kernel]) => sum + kernel.ms, 0);
  if (inKernels === 0) return [shareOf("prefill", "steps up to the first token", prefillMs, 0)];
  return kernels.map(([name, { ms }]) =>
    shareOf(`prefill: ${name}`, "kernel, as in steps with prefill", (prefillMs * ms) / inKernels, 0),
  );
}

function tokenStages({ decode, formatMs, events }: StageSnapshot, tbtMs: number): StageShare[] {
  const steps = Math.max(1, decode.steps);
  const kernels = Object.entries(decode.kernels)
    .filter(([, kernel]) => kernel.ms > 0)
    .map(([name, kernel]) => shareOf(name, "kernel of a decode step", kernel.ms / steps, tbtMs));
  const inKernels = kernels.reduce((sum, kernel) => sum + kernel.ms, 0);
  const format = events === 0 ? 0 : formatMs / events;
  const measuredMs = (decode.stepMs + decode.gapMs) / steps + format;
  return [
    ...kernels,
    shareOf("step, rest", "of a decode step, in no kernel", decode.stepMs / steps - inKernels, tbtMs),
    shareOf("gap", "device idle: schedule, pack, commit", decode.gapMs / steps, tbtMs),
    shareOf("format", "event to JSON and SSE", format, tbtMs),
    shareOf("in between", "prefill of other requests; message, detokeniser, socket, client", tbtMs - measuredMs, tbtMs),
  ];
}

function shareOf(stage: string, what: string, ms: number, wholeMs: number): StageShare {
  return { stage, what, ms, share: wholeMs > 0 ? ms / wholeMs : 0 };
}
