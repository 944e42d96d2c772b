import { expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { htmlReport } from "../../../src/bench/report/html-report.ts";
import { pointsOf } from "../../../src/bench/results.ts";
import { makeResults } from "../make-results.ts";
import { chromium, visit } from "./chromium.ts";
import { INSPECT, type Inspection } from "./inspect-page.ts";

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
      // Five against the load, three inside the chosen one.
      expect(page.charts).toBe(8);
      expect(Math.min(...page.heights)).toBeGreaterThan(100);
      expect(page.lengths.length).toBeGreaterThanOrEqual(16);
      expect(page.lengths.every((length) => length > 50)).toBe(true);
      expect(page.colours).toHaveLength(2);
      expect(page.tip).toMatch(/^visible 16ours[\d.]+theirs[\d.]+$/);
      expect(page.themeChanged).toBe(true);
      expect(page.chartsAfterChoice).toBe(8);
      expect(page.otherCharts).toBe(3);
      expect(page.overflow).toBeLessThanOrEqual(0);
      expect(page.rows).toBeGreaterThan(10);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
  120_000,
);
