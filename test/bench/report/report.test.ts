import { describe, expect, test } from "bun:test";
import { comparisonReport } from "../../../src/bench/report/comparison.ts";
import { formatMs, threeDigits } from "../../../src/bench/report/format.ts";
import { htmlReport } from "../../../src/bench/report/html-report.ts";
import { paperTables } from "../../../src/bench/report/paper-tables.ts";
import { progressLine } from "../../../src/bench/report/progress-line.ts";
import { categoryScale, linearScale, logScale, percentileScale } from "../../../src/bench/report/scale.ts";
import { terminalReport } from "../../../src/bench/report/terminal.ts";
import { textTable } from "../../../src/bench/report/text-table.ts";
import { pointsOf, type RunResults } from "../../../src/bench/results.ts";
import { makeRecord } from "../make-record.ts";
import { makeResults } from "../make-results.ts";

test("figures for people", () => {
  expect([0.4567, 1.2345, 45.678, 456.78, 1234.5, 65_432].map(formatMs)).toEqual([
    "457 us",
    "1.23 ms",
    "45.7 ms",
    "457 ms",
    "1.23 s",
    "65.4 s",
  ]);
  expect(formatMs(undefined)).toBe("-");
  expect(threeDigits(Number.NaN)).toBe("-");
});

test("columns line up", () => {
  expect(
    textTable(
      ["", "n"],
      [
        ["a", "1"],
        ["long", "22"],
      ],
    ),
  ).toBe("       n\n----  --\na      1\nlong  22");
});

describe("the paper's tables", () => {
  test("have a row an endpoint, a column a load, and speed-ups over the first", () => {
    const results = makeResults(["a", "b"], [1, 4]);
    const points = pointsOf(results);
    const tables = paperTables(results, points);
    expect(tables.map((table) => table.title)).toContain("Latency with streaming output");
    for (const { header, rows } of tables) {
      expect(header).toEqual(["", "c=1", "c=4"]);
      expect(rows.map((row) => row[0])).toEqual(["a", "b"]);
      for (const cell of rows[0]!.slice(1)) expect(cell).not.toContain("(");
      for (const cell of rows[1]!.slice(1)) expect(cell).toMatch(/\(\d+\.\d\dx\)$/);
    }
    // b takes twice as long for the same tokens.
    expect(tables[0]!.rows[1]![1]).toContain("(0.50x)");
  });

  test("say Timeout and Error instead of a figure, and leave out what never ran", () => {
    const results = makeResults(["a", "b"], [1, 4, 8]);
    const fail = (endpoint: string, cell: number, kind: "timeout" | "http-500") => {
      for (const record of results.records)
        if (record.endpoint === endpoint && record.cell === cell) record.error = { kind, detail: "" };
    };
    fail("a", 1, "timeout");
    fail("b", 0, "http-500");
    results.slices = results.slices.filter((slice) => slice.cell < 2);
    const [table] = paperTables(results, pointsOf(results));
    expect(table!.header).toEqual(["", "c=1", "c=4"]);
    expect(table!.rows[0]![2]).toBe("Timeout");
    expect(table!.rows[1]![1]).toBe("Error");
    // No baseline, no speed-up.
    expect(table!.rows[1]![2]).not.toContain("(");
  });
});

test("the terminal report names errors, definitions and doubts", () => {
  const results = makeResults(["a"], [1, 4], { ttftMs: 50 });
  results.records.push(makeRecord({ cell: 0, session: 99, outputTokens: 3, maxTokens: 20 }));
  const text = terminalReport(results, pointsOf(results), true);
  for (const part of ["Goodput", "cut", "connection & all", "Definitions", "not as long as asked", "p99"])
    expect(text).toContain(part);
  expect(text.split("\n").every((line) => line === line.trimEnd())).toBe(true);
});

test("a comparison of files pairs loads and says what differs", () => {
  const slower = makeResults(["x", "b"], [1, 4]);
  const alone = (results: RunResults, label: string): RunResults => ({
    ...results,
    info: { ...results.info, endpoints: results.info.endpoints.filter((endpoint) => endpoint.label === label) },
  });
  const text = comparisonReport(alone(slower, "x"), alone(slower, "b"));
  expect(text).toContain("b against x, c=4");
  expect(text).toMatch(/E2E mean .* worse/);
  expect(() => comparisonReport(makeResults(["a"], [1]), makeResults(["a"], [2]))).toThrow(
    "share no endpoint and load",
  );
});

describe("scales", () => {
  test("ticks lie within the axis and are round", () => {
    expect(linearScale(0, 97).ticks).toEqual([0, 20, 40, 60, 80, 100]);
    expect(logScale(0.9, 500).ticks).toEqual([1, 3, 10, 30, 100, 300]);
    for (const scale of [linearScale(0, 0.037), logScale(2, 3), percentileScale(), categoryScale([1, 2, 4])])
      for (const tick of scale.ticks) {
        expect(scale.at(tick)).toBeGreaterThanOrEqual(-1e-9);
        expect(scale.at(tick)).toBeLessThanOrEqual(1 + 1e-9);
      }
  });

  test("concurrencies are evenly spaced, the tail is stretched", () => {
    const { at } = categoryScale([1, 2, 4, 8]);
    expect([1, 2, 4, 8].map((value) => Math.round(at(value) * 3))).toEqual([0, 1, 2, 3]);
    expect(categoryScale([5]).at(5)).toBe(0.5);
    const percentile = percentileScale().at;
    expect(percentile(99) - percentile(90)).toBeCloseTo(percentile(90) - percentile(0), 9);
  });
});

describe("the HTML report", () => {
  const results = makeResults(["a", "<script>alert(1)</script>"], [1, 4, 16], { ttftMs: 60 });
  const html = htmlReport(results, pointsOf(results));

  test("draws every chart and needs no resource", () => {
    // Six against the load, goodput among them, and three inside each of three loads.
    expect(html.match(/<figure class="chart/g)).toHaveLength(6 + 3 * 3);
    expect(html).not.toMatch(/NaN|undefined|Infinity/);
    for (const path of html.matchAll(/ d="([^"]*)"/g)) expect(path[1]).toMatch(/^M[\d.]+ [\d.]+([ML][\d.]+ [\d.]+)*$/);
    expect(html.match(/(?:src|href)="(?!data:,)/g)).toBeNull();
    expect(html).not.toMatch(/@import|url\(/);
  });

  test("answers in words how the others do at the heaviest load that both keep up with", () => {
    const lost = makeResults(["a", "b"], [1, 4, 16]);
    for (const record of lost.records) if (record.cell === 2) record.error = { kind: "timeout", detail: "" };
    const page = htmlReport(lost, pointsOf(lost));
    const answers = page.match(/<p class="answer">[^<]*<\/p>/g);
    expect(answers).toHaveLength(1);
    // b takes twice as long, in every part.
    expect(answers![0]).toMatch(/At c=4, b has 0\.5\dx \(0\.\d\d to 0\.\d\d\) the output of a, 1\.9\dx \(/);
    expect(page).not.toContain("NaN");
  });

  test("keeps foreign text as text", () => {
    expect(html.match(/<script>/g)).toHaveLength(1);
    expect(html).toContain("&lt;script&gt;alert(1)&lt;/script&gt;");
    expect(html).toContain("&lt;b&gt;connection &amp; all&lt;/b&gt;");
  });

  test("is there even when nothing finished", () => {
    const failed = makeResults(["a"], [1]);
    for (const record of failed.records) record.error = { kind: "connect", detail: "refused" };
    const page = htmlReport(failed, pointsOf(failed));
    expect(page).toContain("no load at which requests finished");
    expect(page).toContain("refused");
  });
});

test("a line of progress fits the terminal", () => {
  const live = { finished: 3, failed: 1, inFlight: 4, ttftMs: 12, itlMs: Number.NaN, chunksPerS: 120 };
  expect(progressLine("a c=4", 4, 8, live, 200)).toBe(
    "a c=4 ██████████░░░░░░░░░░ 4/8  TTFT 12.0 ms  ITL -  120 tok/s  4 running  1 failed",
  );
  expect(progressLine("a c=4", 4, Number.POSITIVE_INFINITY, live, 40)).toHaveLength(39);
});
