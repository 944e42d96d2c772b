import { expect, test } from "bun:test";
import { createLogger, type LogLevel, silentLogger } from "../../src/metrics/logger.ts";

const clock = { nowMs: () => 0, epochS: () => 1_700_000_000 };

function lines(level: LogLevel, format: "pretty" | "json") {
  const written: string[] = [];
  return { written, logger: createLogger({ level, format, clock, write: (line) => written.push(line) }) };
}

test("JSON lines: one object each, with the time, level, message and fields", () => {
  const { written, logger } = lines("debug", "json");
  logger.debug("step", { n: 1 });
  logger.error("failed", { cause: new Error("why"), text: "two\nlines" });
  expect(written.every((line) => line.endsWith("}\n") && line.indexOf("\n") === line.length - 1)).toBe(true);
  const [first, second] = written.map((line) => JSON.parse(line));
  expect(first).toEqual({ time: "2023-11-14T22:13:20.000Z", level: "debug", message: "step", n: 1 });
  expect(second).toMatchObject({ level: "error", text: "two\nlines" });
  expect(second.cause).toContain("Error: why");
});

test("pretty lines: one each, strings quoted where they need it, undefined left out", () => {
  const { written, logger } = lines("info", "pretty");
  logger.info("request", { route: "/v1/models", status: 200, error: "two\nlines", tenant: undefined });
  expect(written).toEqual(['22:13:20 INFO  request route=/v1/models status=200 error="two\\nlines"\n']);
});

test("no text can break a line, colour it, or turn its direction", () => {
  const hostile = "a\n\r\x1b[31m\x7f\x85\x9b31m\u2028\u2029\u202e\u2066\u200f\u061cz";
  for (const format of ["json", "pretty"] as const) {
    const { written, logger } = lines("info", format);
    logger.info(hostile, { text: hostile, list: [hostile], cause: new Error(hostile) });
    expect(written[0]!.slice(0, -1)).not.toMatch(/[\p{Cc}\u2028\u2029\p{Bidi_Control}]/u);
    if (format === "json") expect(JSON.parse(written[0]!)).toMatchObject({ message: hostile, text: hostile });
  }
});

test("lines below the level are dropped", () => {
  const { written, logger } = lines("warn", "pretty");
  for (const level of ["debug", "info", "warn", "error"] as const) logger[level](level);
  expect(written.map((line) => line.split(" ").at(-1))).toEqual(["warn\n", "error\n"]);
  expect(silentLogger.error("nothing")).toBeUndefined();
});

test("whatever was thrown can be logged", () => {
  const circular: Record<string, unknown> = {};
  circular.self = circular;
  const hostile = {
    toJSON: () => {
      throw new Error("no JSON");
    },
  };
  for (const format of ["json", "pretty"] as const) {
    const { written, logger } = lines("info", format);
    const thrown = [circular, 1n, hostile, Object.create(null), null, undefined, Symbol("s"), () => 1, new Error("e")];
    for (const cause of thrown) logger.error("failed", { cause });
    expect(written.length).toBe(thrown.length);
    for (const line of written) expect(line.indexOf("\n")).toBe(line.length - 1);
  }
});
