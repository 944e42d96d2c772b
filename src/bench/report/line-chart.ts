import { escapeHtml } from "./escape-html.ts";
import type { Scale } from "./scale.ts";

export interface Series {
  name: string;
  /** Which colour of the palette. */
  color: number;
  /** A companion of another series: the same colour, dashed. */
  dashed?: boolean;
  /** A y of NaN breaks the line. */
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
  /** Spans the page. */
  wide?: boolean;
}

const WIDTH = 560;
const WIDE = 1148;
const HEIGHT = 300;
const LEFT = 64;
const RIGHT = 16;
const TOP = 12;
const BOTTOM = 44;
/** Colours of the palette in the style sheet; more series than this repeat them. */
export const PALETTE_SIZE = 8;

/** A chart as a <figure> with inline SVG; the page's script adds the hover readout from `data-series`. */
export function renderLineChart(chart: LineChart): string {
  const width = chart.wide === true ? WIDE : WIDTH;
  const px = (value: number): number => round(LEFT + chart.x.at(value) * (width - LEFT - RIGHT));
  const py = (value: number): number => round(HEIGHT - BOTTOM - chart.y.at(value) * (HEIGHT - TOP - BOTTOM));
  const gridY = chart.y.ticks.map((tick) => {
    const y = py(tick);
    return (
      `<line class="grid" x1="${LEFT}" x2="${width - RIGHT}" y1="${y}" y2="${y}"/>` +
      `<text class="tick" x="${LEFT - 8}" y="${y + 4}" text-anchor="end">${escapeHtml(tickLabel(chart.formatY(tick)))}</text>`
    );
  });
  const tickX = chart.x.ticks.map((tick) => {
    const label = escapeHtml(tickLabel(chart.formatX(tick)));
    return `<text class="tick" x="${px(tick)}" y="${HEIGHT - BOTTOM + 18}" text-anchor="middle">${label}</text>`;
  });
  const lines = chart.series.map((series) => renderSeries(series, px, py));
  const readout = chart.series.map((series) => ({
    name: series.name,
    color: series.color % PALETTE_SIZE,
    points: drawnOf(series).map(([x, y]) => [px(x), py(y), chart.formatX(x), chart.formatY(y)]),
  }));
  const legend = chart.series.map(
    (series) =>
      `<span class="key"><svg width="22" height="10" aria-hidden="true"><line x1="1" x2="21" y1="5" y2="5" ` +
      `class="line${series.dashed ? " dashed" : ""}" style="stroke:var(--s${series.color % PALETTE_SIZE})"/></svg>` +
      `${escapeHtml(series.name)}</span>`,
  );
  return (
    `<figure class="chart${chart.wide === true ? " wide" : ""}"><figcaption><b>${escapeHtml(chart.title)}</b><span>${escapeHtml(chart.subtitle)}</span></figcaption>` +
    `<div class="plot"><svg viewBox="0 0 ${width} ${HEIGHT}" role="img" aria-label="${escapeHtml(chart.title)}" ` +
    `data-series="${escapeHtml(JSON.stringify(readout))}">` +
    `${gridY.join("")}${tickX.join("")}` +
    `<text class="axis" x="${(LEFT + width - RIGHT) / 2}" y="${HEIGHT - 6}" text-anchor="middle">${escapeHtml(chart.xLabel)}</text>` +
    `<line class="cross" y1="${TOP}" y2="${HEIGHT - BOTTOM}" x1="0" x2="0"/>${lines.join("")}</svg><div class="tip"></div></div>` +
    `<div class="legend">${legend.join("")}</div></figure>`
  );
}

function renderSeries(series: Series, px: (x: number) => number, py: (y: number) => number): string {
  const style = `style="stroke:var(--s${series.color % PALETTE_SIZE})"`;
  let pen = "M";
  let path = "";
  for (const [x, y] of series.points) {
    if (!Number.isNaN(y)) path += `${pen}${px(x)} ${py(y)}`;
    pen = Number.isNaN(y) ? "M" : "L";
  }
  const dots = series.dots
    ? drawnOf(series).map(
        ([x, y]) => `<circle cx="${px(x)}" cy="${py(y)}" r="3.5" style="fill:var(--s${series.color % PALETTE_SIZE})"/>`,
      )
    : [];
  return `<path class="line${series.dashed ? " dashed" : ""}" d="${path}" ${style}/>${dots.join("")}`;
}

function drawnOf(series: Series): ReadonlyArray<readonly [x: number, y: number]> {
  return series.points.filter(([, y]) => !Number.isNaN(y));
}

/** Round numbers need no decimals on an axis, and zero no unit. */
function tickLabel(text: string): string {
  const short = text.replace(/\.(\d*?)0+(?!\d)/, (_, digits: string) => (digits === "" ? "" : `.${digits}`));
  return /^0(?![.\d])/.test(short) ? "0" : short;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
