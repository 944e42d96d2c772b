import { formatMs, formatPercent, threeDigits } from "../report/format.ts";
import type { ReportTable } from "../report/paper-tables.ts";
import { textTable } from "../report/text-table.ts";
import type { Breakdown, StageShare } from "./breakdown.ts";
import type { EngineSnapshot } from "./stage-source.ts";

/** This machine's limits, for the roofline. */
export interface DeviceLimits {
  readBytesPerS: number;
  macsPerS: number;
}

/** What timing itself cost: mean TPOT with it over mean TPOT without. */
export interface TracingCost {
  label: string;
  ratio: number;
}

const RANKED = 10;

/** The profile as text: where TTFT and TBT go at each load, what would pay most, and how near kernels are to the limits. */
export function profileReport(
  breakdowns: readonly Breakdown[],
  limits: DeviceLimits | undefined,
  costs: readonly TracingCost[],
): string {
  const tables = [
    shareTable("Time to first token", "Mean of a request; the stages add up", breakdowns, (b) => [b.ttft, b.ttftMs]),
    shareTable("Time between tokens", "Mean gap at the client; the stages add up", breakdowns, (b) => [b.tbt, b.tbtMs]),
    shareTable("Beside the device", "Work of other threads a step, and its share of TBT", breakdowns, (b) => [
      b.beside,
    ]),
    rankTable(breakdowns),
    rooflineTable(breakdowns, limits),
  ];
  const notes = [
    ...costs.map(
      ({ label, ratio }) =>
        `${label}: TPOT with timing on was ${ratio.toFixed(3)} of that with it off; on a busy machine this is mostly noise.`,
    ),
    "Kernels of a token are those of steps in which every stream of the load was decoding; `prefill: ...` splits the prefill stage as the kernels of the other steps.",
    "The message that brings a first token, and its detokenising, are the means of all. Work beside the device lengthens a request only as far as it takes cores from it: it is ranked by its time over the device's cores, or not at all where cores are left over.",
  ];
  const blocks = tables.map(
    ({ title, caption, header, rows }) => `${title} - ${caption}\n\n${textTable(header, rows)}`,
  );
  return `${[...blocks, ["Notes:", ...notes.map((note) => `  - ${note}`)].join("\n")].join("\n\n")}\n`;
}

function shareTable(
  title: string,
  caption: string,
  breakdowns: readonly Breakdown[],
  of: (breakdown: Breakdown) => readonly [StageShare[], number?],
): ReportTable {
  const stages = [...new Map(breakdowns.flatMap((b) => of(b)[0].map(({ stage, what }) => [stage, what] as const)))];
  const rows = stages.map(([stage, what]) => [
    stage,
    ...breakdowns.map((breakdown) => {
      const found = of(breakdown)[0].find((share) => share.stage === stage);
      return found === undefined ? "-" : showShare(found);
    }),
    what,
  ]);
  const header = ["", ...breakdowns.map((b) => b.label), ""];
  const totals = breakdowns.flatMap((breakdown) => of(breakdown)[1] ?? []);
  if (totals.length > 0) rows.push(["all", ...totals.map(formatMs), "measured by the client"]);
  return { title, caption: `${caption}.`, header, rows };
}

/** A measured 0 and a rest slightly below 0 are noise, and shown as what they are. */
function showShare({ ms, share }: StageShare): string {
  const shown = ms < 0 ? `-${formatMs(-ms)}` : formatMs(ms);
  return `${shown} ${`${threeDigits(share * 100)}%`.padStart(6)}`;
}

function rankTable(breakdowns: readonly Breakdown[]): ReportTable {
  const best = new Map<string, { what: string; share: number }>();
  for (const { stages } of breakdowns)
    for (const { stage, what, share } of stages)
      if (share > (best.get(stage)?.share ?? 0)) best.set(stage, { what, share });
  const ranked = [...best].sort(([, a], [, b]) => b.share - a.share).slice(0, RANKED);
  const rows = ranked.map(([stage, { what }], index) => [
    `${index + 1}. ${stage}`,
    ...breakdowns.map((b) => formatPercent(b.stages.find((share) => share.stage === stage)?.share ?? 0)),
    what,
  ]);
  return {
    title: "What would pay most",
    caption: "How much shorter a whole request would be if the stage were free.",
    header: ["", ...breakdowns.map((b) => b.label), ""],
    rows,
  };
}

function rooflineTable(breakdowns: readonly Breakdown[], limits: DeviceLimits | undefined): ReportTable {
  const rows = breakdowns.flatMap(({ label, decode, others }) => [
    ...kernelRows(`${label} decode`, decode, limits),
    ...kernelRows(`${label} prefill and mixed`, others, limits),
  ]);
  const measured =
    limits === undefined
      ? "the device's limits could not be measured"
      : `limits measured now: reads ${threeDigits(limits.readBytesPerS / 1e9)} GB/s, int8 ${threeDigits(limits.macsPerS / 1e9)} G multiply-adds/s`;
  return {
    title: "Roofline",
    caption: `What kernels achieved; ${measured}. Reads above 100% came from the cache.`,
    header: ["", "a step", "GB/s", "of limit", "GMAC/s", "of limit"],
    rows,
  };
}

function kernelRows(label: string, { kernels, steps }: EngineSnapshot, limits: DeviceLimits | undefined): string[][] {
  const of = (rate: number, limit: number | undefined): string =>
    limit === undefined || rate === 0 ? "-" : formatPercent(rate / limit);
  return Object.entries(kernels)
    .filter(([, { ms, bytes, ops }]) => ms > 0 && bytes + ops > 0)
    .map(([name, { ms, bytes, ops }]) => {
      const [bytesPerS, macsPerS] = [(bytes * 1000) / ms, (ops * 1000) / ms];
      const rate = (perS: number): string => (perS === 0 ? "-" : threeDigits(perS / 1e9));
      return [
        `${label} ${name}`,
        formatMs(ms / steps),
        rate(bytesPerS),
        of(bytesPerS, limits?.readBytesPerS),
        rate(macsPerS),
        of(macsPerS, limits?.macsPerS),
      ];
    });
}
