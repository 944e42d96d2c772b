import { existsSync } from "node:fs";
import { arch, platform, release, version } from "node:os";
import { locateLibrary } from "../backend/library.ts";
import { type MachineLimits, measureLimits, type Probe, probe } from "../backend/probe.ts";
import { hubEnvironment } from "../config/environment.ts";
import { type Command, requireNoArguments } from "./command.ts";
import { formatBytes } from "./format.ts";
import { VERSION } from "./version.ts";

const HELP = `Usage: scalellm doctor

Shows what was found on this machine (CPU features, memory, GPUs and their libraries), what would run, and why.
`;

/** Libraries and devices a CUDA backend would need, where Linux keeps them. */
const CUDA_DRIVER_PATHS = [
  "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
  "/usr/lib/aarch64-linux-gnu/libcuda.so.1",
  "/usr/lib64/libcuda.so.1",
  "/usr/local/nvidia/lib64/libcuda.so.1",
  "/usr/lib/wsl/lib/libcuda.so.1",
];

export const doctorCommand: Command = {
  async run(argv) {
    if (argv.includes("--help") || argv.includes("-h")) {
      process.stdout.write(HELP);
      return 0;
    }
    requireNoArguments(argv);
    process.stdout.write(
      `ScaleLLM ${VERSION} on ${platform()} ${arch()}, ${release()} (${version()}), Bun ${Bun.version}\n\n`,
    );
    const libraryPath = await locateLibrary();
    const found = probe(libraryPath);
    describeCpu(found, measureLimits(libraryPath));
    describeGpu();
    const hub = hubEnvironment();
    section("Hub", [
      ["endpoint", hub.endpoint],
      ["cache", `${hub.cacheDir}${existsSync(hub.cacheDir) ? "" : " (not there yet)"}`],
      ["token", hub.token ? "set (HF_TOKEN)" : "none: gated models cannot be pulled"],
    ]);
    return 0;
  },
};

function section(title: string, rows: ReadonlyArray<readonly [string, string]>): void {
  process.stdout.write(`${title}\n${rows.map(([name, value]) => `  ${name.padEnd(16)}${value}`).join("\n")}\n\n`);
}

function describeCpu(found: Probe, limits: MachineLimits): void {
  const why: Record<string, string> = {
    avx512: "AVX-512 VNNI was found: int8 products run 64 multiply-adds an instruction",
    amx: "AMX was found: tiles of bytes for 16 tokens and more, AVX-512 VNNI for fewer, and a cache in float16",
    avx2: "AVX2 and FMA were found, AVX-512 VNNI was not",
    portable: "neither AVX2 nor AVX-512 was found: portable C++, correct and slow",
  };
  section("CPU", [
    ["processor", found.cpuName],
    ["threads", `${found.numCores}: ${describeQuota(found)}`],
    ["features", found.features.join(", ") || "none that matter"],
    [
      "memory",
      `${formatBytes(found.availableMemoryBytes)} free of ${formatBytes(found.totalMemoryBytes)}` +
        (found.memoryLimit === "" ? "" : ` (limited by ${found.memoryLimit})`),
    ],
    ["reads", `${(limits.readBytesPerS / 1e9).toFixed(1)} GB/s measured now: the limit of decoding alone`],
    ["int8 products", `${(limits.int8MacsPerS / 1e9).toFixed(0)} G multiply-adds/s measured now: the limit of prefill`],
    ["would run", `${found.bestIsa}: ${why[found.bestIsa] ?? "the best kernels of this build"}`],
    ["library", found.buildInfo],
  ]);
}

function describeQuota({ cpuQuota, cpuLimit }: Probe): string {
  if (cpuQuota === 0) return "one a core that this process may use";
  return `within a quota of ${cpuQuota.toFixed(2)} cores (${cpuLimit})`;
}

function describeGpu(): void {
  const driver = CUDA_DRIVER_PATHS.find((path) => existsSync(path));
  const device = existsSync("/dev/nvidia0");
  section("GPU", [
    ["NVIDIA device", device ? "/dev/nvidia0" : "none (/dev/nvidia0 is missing)"],
    ["CUDA driver", driver ?? "none (libcuda.so.1 is in none of the usual folders)"],
    ["would run", "the CPU: this build has no CUDA backend"],
  ]);
}
