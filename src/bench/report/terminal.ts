import type { Point, RunResults } from "../results.ts";
import { DEFINITIONS, notesOf } from "./notes.ts";
import { detailTable, errorTable, paperTables, type ReportTable } from "./paper-tables.ts";
import { textTable } from "./text-table.ts";

/** Cells up to which the full table is short enough to print unasked. */
const DETAIL_POINTS = 4;

/** The report as text: the paper's tables, errors, and what to know before believing them. */
export function terminalReport(results: RunResults, points: readonly Point[], details: boolean): string {
  const tables: ReportTable[] = paperTables(results, points);
  if (details || points.length <= DETAIL_POINTS) tables.push(detailTable(points));
  const errors = errorTable(points);
  if (errors !== undefined) tables.push(errors);
  const { workload, api, seed } = results.info;
  const blocks = [
    `Workload: ${api}, ${workload}, seed ${seed}`,
    ...tables.map((table) => `${table.title} - ${table.caption}\n\n${textTable(table.header, table.rows)}`),
    list("Notes", notesOf(results, points)),
    ...(details ? [list("Definitions", DEFINITIONS)] : []),
  ];
  return `${blocks.filter((block) => block !== "").join("\n\n")}\n`;
}

function list(title: string, items: readonly string[]): string {
  return items.length === 0 ? "" : [`${title}:`, ...items.map((item) => `  - ${item}`)].join("\n");
}
