import type { Point, RunResults } from "../results.ts";
import { answersOf, compareEndpoints, comparisonTable, type PointComparison } from "./comparison.ts";
import { escapeHtml } from "./escape-html.ts";
import { formatMs, threeDigits } from "./format.ts";
import { PALETTE_SIZE, renderLineChart } from "./line-chart.ts";
import { DEFINITIONS, notesOf } from "./notes.ts";
import { detailTable, errorTable, paperTables, type ReportTable } from "./paper-tables.ts";
import { cellCharts, loadCharts } from "./report-charts.ts";
import { REPORT_SCRIPT } from "./report-script.ts";
import { REPORT_STYLE } from "./report-style.ts";

/** Tables of at most so many loads fit into half the page. */
const NARROW_CELLS = 3;

/** One page that needs nothing else: charts are drawn here, not in the browser, and no resource is fetched. */
export function htmlReport(results: RunResults, points: readonly Point[]): string {
  const { info } = results;
  const title = `Benchmark: ${info.endpoints.map((endpoint) => endpoint.label).join(" and ")}`;
  const tables = paperTables(results, points).map(renderTable).join("");
  const errors = errorTable(points);
  const compared = compareEndpoints(results, points);
  // Narrow tables stand side by side.
  const layout = info.cells.length <= NARROW_CELLS ? "tables narrow" : "tables";
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="generator" content="scalellm bench"><link rel="icon" href="data:,">
<title>${escapeHtml(title)}</title><style>${REPORT_STYLE}</style></head><body><main>
<header><div><h1>${escapeHtml(title)}</h1>
<p class="soft">${escapeHtml(`${info.api}: ${info.workload}`)}</p>
<p class="soft">${info.endpoints.map((endpoint) => escapeHtml(`${endpoint.label}: ${endpoint.model} at ${endpoint.url}`)).join("<br>")}</p>
<p class="soft">${escapeHtml(`${info.startedAt}, seed ${info.seed}`)}</p></div>
<button id="theme" type="button">Light / dark</button></header>
<div class="cards">${headlines(results, points)}</div>
${answersOf(compared)
  .map((answer) => `<p class="answer">${escapeHtml(answer)}</p>`)
  .join("")}
<h2>Against the load</h2><div class="charts">${loadCharts(results, points).map(renderLineChart).join("")}</div>
${insideLoads(results, points)}
<h2>Tables</h2><div class="${layout}">${tables}${errors === undefined ? "" : renderTable(errors)}</div>
${comparisons(compared)}
<details><summary>Every figure</summary>${renderTable(detailTable(points))}</details>
<h2>Before believing this</h2>${renderList(notesOf(results, points))}
<details><summary>How the figures are defined</summary>${renderList(DEFINITIONS)}</details>
</main><script>${REPORT_SCRIPT}</script></body></html>
`;
}

/** What each endpoint is at its best: the answer first. */
function headlines(results: RunResults, points: readonly Point[]): string {
  const cards = results.info.endpoints.flatMap(({ label }, color) => {
    const own = points.filter((point) => point.endpoint.label === label && point.figures.status === "ok");
    const card = (value: string, what: string): string =>
      `<div class="card"><i style="border-color:var(--s${color % PALETTE_SIZE})">${escapeHtml(label)}</i>` +
      `<b>${escapeHtml(value)}</b><span class="soft">${escapeHtml(what)}</span></div>`;
    if (own.length === 0) return [card("-", "no load at which requests finished")];
    const peak = best(own, (point) => point.figures.outputTokensPerS);
    const quick = best(own, (point) => -(point.figures.ttftMs?.p50 ?? Number.POSITIVE_INFINITY));
    return [
      card(`${threeDigits(peak.figures.outputTokensPerS)} tok/s`, `most output, at ${peak.cell.label}`),
      card(formatMs(quick.figures.ttftMs?.p50), `quickest median first token, at ${quick.cell.label}`),
    ];
  });
  return cards.join("");
}

function best(points: readonly Point[], score: (point: Point) => number): Point {
  return points.reduce((winner, point) => (score(point) > score(winner) ? point : winner));
}

function insideLoads(results: RunResults, points: readonly Point[]): string {
  const cells = results.info.cells.filter((cell) => cellCharts(results, points, cell).length > 0);
  if (cells.length === 0) return "";
  const last = cells.at(-1)!;
  const options = cells.map(
    (cell) => `<option value="${cell.index}"${cell === last ? " selected" : ""}>${escapeHtml(cell.label)}</option>`,
  );
  // The last load is shown without the script; the others wait for it.
  const groups = cells.map(
    (cell) =>
      `<div class="charts-group" data-load="${cell.index}"${cell === last ? "" : " hidden"}><div class="charts">` +
      `${cellCharts(results, points, cell).map(renderLineChart).join("")}</div></div>`,
  );
  return `<div class="bar"><h2>Inside one load</h2><select id="load" aria-label="Load">${options.join("")}</select></div>${groups.join("")}`;
}

function comparisons(compared: readonly PointComparison[]): string {
  const tables = compared.map((comparison) => renderTable(comparisonTable(comparison)));
  return tables.length === 0
    ? ""
    : `<details><summary>Endpoints compared, with confidence intervals</summary>${tables.join("")}</details>`;
}

function renderTable({ title, caption, header, rows }: ReportTable): string {
  const cells = (row: readonly string[], tag: string): string =>
    row
      .map(
        (cell) =>
          `<${tag}${cell === "better" || cell === "worse" ? ` class="${cell}"` : ""}>${escapeHtml(cell)}</${tag}>`,
      )
      .join("");
  const body = rows.map((row) => `<tr>${cells(row, "td")}</tr>`).join("");
  return (
    `<section class="table"><h3>${escapeHtml(title)}</h3><p class="caption">${escapeHtml(caption)}</p>` +
    `<table><thead><tr>${cells(header, "th")}</tr></thead><tbody>${body}</tbody></table></section>`
  );
}

function renderList(items: readonly string[]): string {
  return `<ul class="notes">${items.map((item) => `<li>${escapeHtml(item)}</li>`).join("")}</ul>`;
}
