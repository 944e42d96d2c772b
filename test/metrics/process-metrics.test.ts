import { expect, test } from "bun:test";
import { closeSync, openSync, readdirSync } from "node:fs";
import { systemClock } from "../../src/core/clock.ts";
import { ServerMetrics } from "../../src/metrics/server-metrics.ts";

async function read(metrics: ServerMetrics): Promise<Map<string, number>> {
  const lines = (await metrics.render()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ") + 1))]),
  );
}

test("the process, under the names that Prometheus' clients use", async () => {
  const metrics = new ServerMetrics(systemClock);
  const before = await read(metrics);
  expect(before.get("process_resident_memory_bytes")).toBeGreaterThan(10e6);
  expect(before.get("process_virtual_memory_bytes")).toBeGreaterThan(before.get("process_resident_memory_bytes")!);
  expect(before.get("process_start_time_seconds")).toBeLessThanOrEqual(systemClock.epochS());
  expect(before.get("process_start_time_seconds")).toBeGreaterThan(systemClock.epochS() - 86_400);
  expect(before.get("process_max_fds")).toBeGreaterThan(before.get("process_open_fds")!);
  expect(before.get("process_open_fds")).toBeCloseTo(readdirSync("/proc/self/fd").length - 1, -1);
  const fds = Array.from({ length: 50 }, () => openSync("/dev/null", "r"));
  const busy = process.cpuUsage().user;
  while (process.cpuUsage().user - busy < 20_000);
  const after = await read(metrics);
  for (const fd of fds) closeSync(fd);
  expect(after.get("process_open_fds")! - before.get("process_open_fds")!).toBeGreaterThan(40);
  expect(after.get("process_cpu_seconds_total")).toBeGreaterThan(before.get("process_cpu_seconds_total")!);
});

test("what runs is told by labels", async () => {
  const metrics = new ServerMetrics(systemClock);
  metrics.describeBuild({ version: "1.2.3", bun: "9" });
  expect((await read(metrics)).get('scalellm_build_info{version="1.2.3",bun="9"}')).toBe(1);
});
