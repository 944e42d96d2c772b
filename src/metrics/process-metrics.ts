import { readdirSync, readFileSync } from "node:fs";
import { Counter, Gauge, type Registry } from "prom-client";

/**
 * The process as Prometheus' client libraries describe it, under their names. What needs /proc is left out where there is
 * none. Read when the metrics are asked for.
 */
export function watchProcess(registry: Registry, startedS: number): void {
  const registers = [registry];
  new Gauge({
    name: "process_start_time_seconds",
    help: "Start of the process, in seconds since 1970.",
    registers,
  }).set(startedS);
  const cpu = new Counter({
    name: "process_cpu_seconds_total",
    help: "CPU time of the process, all its threads.",
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      cpu.reset();
      cpu.inc((user + system) / 1e6);
    },
  });
  sampled("process_resident_memory_bytes", "Resident memory.", () => process.memoryUsage.rss());
  if (openDescriptors() === undefined) return;
  sampled("process_virtual_memory_bytes", "Virtual memory.", virtualBytes);
  sampled("process_open_fds", "Open file descriptors.", openDescriptors);
  sampled("process_max_fds", "The most file descriptors.", maxDescriptors);

  function sampled(name: string, help: string, sample: () => number | undefined): void {
    const gauge = new Gauge({
      name,
      help,
      registers,
      collect() {
        const value = sample();
        if (value !== undefined) gauge.set(value);
      },
    });
  }
}

function openDescriptors(): number | undefined {
  try {
    // Reading the folder opens one more.
    return readdirSync("/proc/self/fd").length - 1;
  } catch {
    return undefined;
  }
}

function maxDescriptors(): number | undefined {
  const soft = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
  return soft === undefined ? undefined : soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft);
}

function virtualBytes(): number | undefined {
  const kilobytes = /^VmSize:\s+(\d+) kB/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
}
