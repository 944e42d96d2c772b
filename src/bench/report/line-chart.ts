import { escapeHtml } from "./escape-html.ts";
import type { Scale } from "./scale.ts";

export interface Series {
  name: string;
  /** Which colour of the palette. */
  color: number;
  /** A companion of another series: the same colour, dashed. */
  dashed?: boolean;
  points: ReadonlyArray<readonly [x: number, y: number]>;
  dots: boolean;
}

export interface LineChart {
  title: string;
  subtitle: string;
  xLabel: string;
  x: Scale;
  y: Scale;
  formatX: (value: number) => string;
  formatY: (value: number) => string;
  series: readonly Series[];
}

const WIDTH = 560;
const HEIGHT = 300;
const LEFT = 64;
const RIGHT = 16;
const TOP = 12;
const BOTTOM = 44;
/** Colours of the palette in the style sheet; more series than this repeat them. */
export const PALETTE_SIZE = 8;

/** A chart as a <figure> with inline SVG; the page's script adds the hover readout from `data-series`. */
export function renderLineChart(chart: LineChart): string {
  const px = (value: number): number => round(LEFT + chart.x.at(value) * (WIDTH - LEFT - RIGHT));
  const py = (value: number): number => round(HEIGHT - BOTTOM - chart.y.at(value) * (HEIGHT - TOP - BOTTOM));
  const gridY = chart.y.ticks.map((tick) => {
    const y = py(tick);
    return (
      `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y}" y2="${y}"/>` +
      `<text class="tick" x="${LEFT - 8}" y="${y + 4}" text-anchor="end">${escapeHtml(chart.formatY(tick))}</text>`
    );
  });
  const tickX = chart.x.ticks.map((tick) => {
    const label = escapeHtml(chart.formatX(tick));
    return `<text class="tick" x="${px(tick)}" y="${HEIGHT - BOTTOM + 18}" text-anchor="middle">${label}</text>`;
  });
  const lines = chart.series.map((series) => renderSeries(series, px, py));
  const readout = chart.series.map((series) => ({
    name: series.name,
    color: series.color % PALETTE_SIZE,
    points: series.points.map(([x, y]) => [px(x), py(y), chart.formatX(x), chart.formatY(y)]),
  }));
  const legend = chart.series.map(
    (series) =>
      `<span class="key"><svg width="22" height="10" aria-hidden="true"><line x1="1" x2="21" y1="5" y2="5" ` +
      `class="line${series.dashed ? " dashed" : ""}" style="stroke:var(--s${series.color % PALETTE_SIZE})"/></svg>` +
      `${escapeHtml(series.name)}</span>`,
  );
  return (
    `<figure class="chart"><figcaption><b>${escapeHtml(chart.title)}</b><span>${escapeHtml(chart.subtitle)}</span></figcaption>` +
    `<div class="plot"><svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(chart.title)}" ` +
    `data-series="${escapeHtml(JSON.stringify(readout))}">` +
    `${gridY.join("")}${tickX.join("")}` +
    `<text class="axis" x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 6}" text-anchor="middle">${escapeHtml(chart.xLabel)}</text>` +
    `<line class="cross" y1="${TOP}" y2="${HEIGHT - BOTTOM}" x1="0" x2="0"/>${lines.join("")}</svg><div class="tip"></div></div>` +
    `<div class="legend">${legend.join("")}</div></figure>`
  );
}

function renderSeries(series: Series, px: (x: number) => number, py: (y: number) => number): string {
  const style = `style="stroke:var(--s${series.color % PALETTE_SIZE})"`;
  const path = series.points.map(([x, y], i) => `${i === 0 ? "M" : "L"}${px(x)} ${py(y)}`).join("");
  const dots = series.dots
    ? series.points.map(
        ([x, y]) => `<circle cx="${px(x)}" cy="${py(y)}" r="3.5" style="fill:var(--s${series.color % PALETTE_SIZE})"/>`,
      )
    : [];
  return `<path class="line${series.dashed ? " dashed" : ""}" d="${path}" ${style}/>${dots.join("")}`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
