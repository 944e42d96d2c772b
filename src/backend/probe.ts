import { CPU_FEATURES, enumValue, ISAS, type Isa, SL_LIMITS, SL_PROBE_INFO } from "./abi.ts";
import { openLibrary } from "./library.ts";
import { readField, readText } from "./struct-layout.ts";

/** What the machine has, as the native library sees it. */
export interface Probe {
  readonly bestIsa: Isa;
  /** Threads to compute with: the cores this process may run on, within its quota. */
  readonly numCores: number;
  readonly features: readonly (typeof CPU_FEATURES)[number][];
  /** The machine's, or the least limit on the process. */
  readonly totalMemoryBytes: number;
  readonly availableMemoryBytes: number;
  /** Cores' worth of processor time that control groups allow; 0: no quota. */
  readonly cpuQuota: number;
  /** The file or command that sets totalMemoryBytes, cpuQuota; empty: nothing but the machine does. */
  readonly memoryLimit: string;
  readonly cpuLimit: string;
  readonly cpuName: string;
  /** CUDA devices found; empty for the CPU library. */
  readonly deviceNames: readonly string[];
  /** "cpu" or "cuda", compiler, build flags. */
  readonly buildInfo: string;
}

/** `root` is a folder with the /proc and /sys of another machine, for tests. Throws BackendError. */
export function probe(libraryPath: string, root = ""): Probe {
  const library = openLibrary(libraryPath);
  const view = new DataView(new ArrayBuffer(SL_PROBE_INFO.size));
  library.probe(root, view);
  const { fields } = SL_PROBE_INFO;
  const bits = readField(fields.features, view);
  return {
    bestIsa: ISAS[readField(fields.best_isa, view)] ?? "portable",
    numCores: readField(fields.num_cores, view),
    features: CPU_FEATURES.filter((_, i) => (bits & (1 << i)) !== 0),
    totalMemoryBytes: readField(fields.total_memory, view),
    availableMemoryBytes: readField(fields.available_memory, view),
    cpuQuota: readField(fields.cpu_quota, view),
    memoryLimit: readText(fields.memory_limit, view),
    cpuLimit: readText(fields.cpu_limit, view),
    cpuName: readText(fields.cpu_name, view),
    deviceNames: readText(fields.device_names, view)
      .split("\n")
      .filter((name) => name !== ""),
    buildInfo: library.buildInfo(),
  };
}

/** This machine's limits, for a roofline. */
export interface MachineLimits {
  /** Streaming reads, all threads. */
  readonly readBytesPerS: number;
  readonly int8MacsPerS: number;
  readonly f32MacsPerS: number;
}

/** Measures for about 0.3 s with every thread busy. numThreads 0: one a core. Throws BackendError. */
export function measureLimits(libraryPath: string, isa: Isa = "auto", numThreads = 0): MachineLimits {
  const view = new DataView(new ArrayBuffer(SL_LIMITS.size));
  openLibrary(libraryPath).measureLimits(enumValue(ISAS, isa), numThreads, view);
  const { fields } = SL_LIMITS;
  return {
    readBytesPerS: readField(fields.read_bytes_per_s, view),
    int8MacsPerS: readField(fields.int8_macs_per_s, view),
    f32MacsPerS: readField(fields.f32_macs_per_s, view),
  };
}
