import { expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { htmlReport } from "../../../src/bench/report/html-report.ts";
import { pointsOf } from "../../../src/bench/results.ts";
import { makeResults } from "../make-results.ts";
import { chromium, visit } from "./chromium.ts";

/** Runs in the page: what is drawn, before and after its controls are used. */
const INSPECT = `(async () => {
  const shown = () => [...document.querySelectorAll("figure.chart")].filter((chart) => chart.getBoundingClientRect().height > 0);
  const before = shown();
  const lines = before.flatMap((chart) => [...chart.querySelectorAll(".plot path.line")]);
  const colours = new Set(lines.map((line) => getComputedStyle(line).stroke));
  const heights = before.map((chart) => chart.querySelector(".plot svg").getBoundingClientRect().height);
  const lengths = lines.map((line) => line.getTotalLength());
  const svg = before[0].querySelector(".plot svg");
  const box = svg.getBoundingClientRect();
  svg.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + box.width - 20, clientY: box.top + 20 }));
  const tip = before[0].querySelector(".tip");
  const theme = document.documentElement.dataset.theme;
  const background = getComputedStyle(document.body).backgroundColor;
  document.getElementById("theme").click();
  const choice = document.getElementById("load");
  choice.value = choice.options[0].value;
  choice.dispatchEvent(new Event("change"));
  return {
    charts: before.length,
    heights,
    lengths,
    colours: [...colours],
    tip: getComputedStyle(tip).visibility + " " + tip.textContent,
    themeChanged: document.documentElement.dataset.theme !== theme && getComputedStyle(document.body).backgroundColor !== background,
    chartsAfterChoice: shown().length,
    otherCharts: shown().filter((chart) => !before.includes(chart)).length,
    overflow: document.documentElement.scrollWidth - innerWidth,
    rows: document.querySelectorAll("tbody tr").length,
  };
})()`;

interface Inspection {
  charts: number;
  heights: number[];
  lengths: number[];
  colours: string[];
  tip: string;
  themeChanged: boolean;
  chartsAfterChoice: number;
  otherCharts: number;
  overflow: number;
  rows: number;
}

if (chromium === undefined)
  console.warn("skipped: the HTML report in a browser needs Chromium (apt-get install chromium)");

test.skipIf(chromium === undefined)(
  "the report draws its charts in Chromium, without a complaint or a request",
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "scalellm-report-"));
    try {
      const results = makeResults(["ours", "theirs"], [1, 4, 16]);
      const path = join(folder, "report.html");
      await Bun.write(path, htmlReport(results, pointsOf(results)));
      const seen = await visit(chromium!, `file://${path}`, INSPECT);
      expect(seen.complaints).toEqual([]);
      expect(seen.requests).toEqual([]);
      const page = seen.result as Inspection;
      // Four against the load, three inside the chosen one.
      expect(page.charts).toBe(7);
      expect(Math.min(...page.heights)).toBeGreaterThan(100);
      expect(page.lengths.length).toBeGreaterThanOrEqual(16);
      expect(page.lengths.every((length) => length > 50)).toBe(true);
      expect(page.colours).toHaveLength(2);
      expect(page.tip).toMatch(/^visible 16ours[\d.]+theirs[\d.]+$/);
      expect(page.themeChanged).toBe(true);
      expect(page.chartsAfterChoice).toBe(7);
      expect(page.otherCharts).toBe(3);
      expect(page.overflow).toBeLessThanOrEqual(0);
      expect(page.rows).toBeGreaterThan(10);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
  120_000,
);
