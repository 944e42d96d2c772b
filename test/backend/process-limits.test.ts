import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { locateLibrary } from "../../src/backend/library.ts";
import { type Probe, probe } from "../../src/backend/probe.ts";
import { TempFolder } from "../model/temp-folder.ts";

const library = await locateLibrary();
const KB = 1024;
const MB = 1024 * KB;
const GB = 1024 * MB;
const PID = 4711;
const NO_V1_LIMIT = "9223372036854771712";

/** A machine of 64 GB with 48 GB free, and files below its root. */
function probeOf(files: Record<string, string>): Probe {
  using folder = new TempFolder();
  const machine = {
    "/proc/meminfo": `MemTotal: ${64 * MB} kB\nMemFree: ${MB} kB\nMemAvailable:   ${48 * MB} kB\n`,
    "/proc/self/stat": `${PID} (scalellm (x)) S 1`,
    ...files,
  };
  for (const [path, text] of Object.entries(machine)) {
    const at = folder.file(path.slice(1));
    mkdirSync(dirname(at), { recursive: true });
    writeFileSync(at, text);
  }
  return probe(library, folder.path);
}

const mount = (root: string, point: string, type: string, options: string) =>
  `31 23 0:28 ${root} ${point} rw,nosuid shared:9 master:2 - ${type} ${type} rw,${options}\n`;
const V2 = mount("/", "/sys/fs/cgroup", "cgroup2", "nsdelegate");
const OTHERS = "22 27 0:21 / /proc rw,relatime - proc proc rw\n27 1 254:0 / / rw - ext4 /dev/vda rw,memory,cpu\n";

interface Layout {
  readonly name: string;
  readonly cgroup: string;
  readonly mounts: string;
  /** Below /sys/fs/cgroup. */
  readonly files: Record<string, string>;
  readonly totalMb?: number;
  readonly availableMb?: number;
  readonly quota?: number;
  readonly memoryLimit?: string;
}

const v2 = (cgroup: string, files: Record<string, string>) => ({ cgroup: `0::${cgroup}\n`, mounts: V2, files });

const LAYOUTS: Layout[] = [
  { name: "no control groups", cgroup: "", mounts: "", files: {} },
  { name: "v2 without limits", ...v2("/a", { "a/memory.max": "max\n", "a/cpu.max": "max 100000\n" }) },
  {
    name: "systemd MemoryMax and CPUQuota on a service",
    ...v2("/system.slice/scalellm.service", {
      "system.slice/memory.max": "max\n",
      "system.slice/scalellm.service/memory.max": `${500 * MB}\n`,
      "system.slice/scalellm.service/memory.current": `${120 * MB}\n`,
      "system.slice/scalellm.service/memory.stat": `anon 1\ninactive_file ${20 * MB}\nactive_file 7\n`,
      "system.slice/scalellm.service/cpu.max": "150000 100000\n",
    }),
    totalMb: 500,
    availableMb: 400,
    quota: 1.5,
    memoryLimit: "/sys/fs/cgroup/system.slice/scalellm.service/memory.max",
  },
  {
    name: "the least is in the middle; memory left and CPU are least elsewhere",
    ...v2("/a/b/c", {
      "a/memory.max": `${900 * MB}`,
      "a/memory.current": `${800 * MB}`,
      "a/cpu.max": "50000 100000",
      "a/b/memory.max": `${600 * MB}`,
      "a/b/memory.current": `${50 * MB}`,
      "a/b/c/memory.max": `${700 * MB}`,
      "a/b/c/cpu.max": "300000 100000",
    }),
    totalMb: 600,
    availableMb: 100,
    quota: 0.5,
    memoryLimit: "/sys/fs/cgroup/a/b/memory.max",
  },
  {
    name: "memory.high slows a group down before memory.max ends it",
    ...v2("/a", { "a/memory.max": `${2 * GB}`, "a/memory.high": `${GB}`, "a/memory.current": "0" }),
    totalMb: 1024,
    availableMb: 1024,
    memoryLimit: "/sys/fs/cgroup/a/memory.high",
  },
  {
    name: "a limit above the machine's is none, but its neighbours may have used it up",
    ...v2("/a", { "a/memory.max": `${100 * GB}`, "a/memory.current": `${98 * GB}` }),
    availableMb: 2048,
  },
  {
    name: "a container with a namespace of its own: its group is the mount's root",
    ...v2("/", { "memory.max": `${256 * MB}`, "memory.current": `${MB}`, "cpu.max": "200000 100000" }),
    totalMb: 256,
    availableMb: 255,
    quota: 2,
    memoryLimit: "/sys/fs/cgroup/memory.max",
  },
  {
    name: "a container that sees only its own group, by the host's name",
    cgroup: "0::/docker/abc/app\n",
    mounts: mount("/docker/abc", "/sys/fs/cgroup", "cgroup2", "x"),
    files: { "memory.max": `${256 * MB}`, "app/memory.max": `${128 * MB}` },
    totalMb: 128,
    availableMb: 128,
    memoryLimit: "/sys/fs/cgroup/app/memory.max",
  },
  {
    name: "outside of what is mounted: the mount's root is the best that can be known",
    ...v2("/../../other", { "memory.max": `${256 * MB}` }),
    totalMb: 256,
    availableMb: 256,
    memoryLimit: "/sys/fs/cgroup/memory.max",
  },
  {
    name: "a mount made above the namespace's root: the group is found by its process",
    cgroup: "0::/in\n",
    mounts: mount("/../..", "/sys/fs/cgroup", "cgroup2", "x"),
    files: {
      "x/y/in/cgroup.procs": "1\n",
      "x/y/in/memory.max": `${1}`,
      "x/z/in/cgroup.procs": `12\n${PID}\n`,
      "x/z/memory.max": `${300 * MB}`,
      "x/cpu.max": "100000 100000",
    },
    totalMb: 300,
    availableMb: 300,
    quota: 1,
    memoryLimit: "/sys/fs/cgroup/x/z/memory.max",
  },
  {
    name: "the same with parts of the path in common",
    cgroup: "0::/../b\n",
    mounts: mount("/..", "/sys/fs/cgroup", "cgroup2", "x"),
    files: { "memory.max": `${900 * MB}`, "b/memory.max": `${300 * MB}` },
    totalMb: 300,
    availableMb: 300,
    memoryLimit: "/sys/fs/cgroup/b/memory.max",
  },
  {
    name: "Slurm on v1: the job's group, two above the task's",
    cgroup: "11:cpu,cpuacct:/slurm/uid_7/job_9/step_0\n7:memory:/slurm/uid_7/job_9/step_0/task_0\n1:name=systemd:/x\n",
    mounts:
      mount("/", "/sys/fs/cgroup/memory", "cgroup", "memory") +
      mount("/", "/sys/fs/cgroup/cpu,cpuacct", "cgroup", "cpu,cpuacct") +
      mount("/", "/sys/fs/cgroup/systemd", "cgroup", "name=systemd"),
    files: {
      "memory/memory.limit_in_bytes": NO_V1_LIMIT,
      "memory/slurm/uid_7/job_9/memory.limit_in_bytes": `${2 * GB}\n`,
      "memory/slurm/uid_7/job_9/memory.usage_in_bytes": `${GB + MB}\n`,
      "memory/slurm/uid_7/job_9/memory.stat": `inactive_file 5\ntotal_inactive_file ${MB}\n`,
      "memory/slurm/uid_7/job_9/step_0/task_0/memory.limit_in_bytes": NO_V1_LIMIT,
      "memory/slurm/uid_7/job_9/step_0/task_0/memory.usage_in_bytes": "12",
      "cpu,cpuacct/slurm/uid_7/cpu.cfs_quota_us": "250000",
      "cpu,cpuacct/slurm/uid_7/cpu.cfs_period_us": "100000",
      "cpu,cpuacct/slurm/uid_7/job_9/step_0/cpu.cfs_quota_us": "-1",
      "cpu,cpuacct/slurm/uid_7/job_9/step_0/cpu.cfs_period_us": "100000",
    },
    totalMb: 2048,
    availableMb: 1024,
    quota: 2.5,
    memoryLimit: "/sys/fs/cgroup/memory/slurm/uid_7/job_9/memory.limit_in_bytes",
  },
  {
    name: "Docker on v1: the mount begins at the container's group, whose parents' limit only memory.stat tells",
    cgroup: "4:memory:/docker/abc\n",
    mounts: mount("/docker/abc", "/sys/fs/cgroup/memory", "cgroup", "memory"),
    files: {
      "memory/memory.limit_in_bytes": NO_V1_LIMIT,
      "memory/memory.usage_in_bytes": `${100 * MB}`,
      "memory/memory.stat": `cache 1\nhierarchical_memory_limit ${800 * MB}\ntotal_inactive_file 0\n`,
    },
    totalMb: 800,
    availableMb: 700,
    memoryLimit: "/sys/fs/cgroup/memory/memory.stat",
  },
  {
    name: "v1 without hierarchy: the parent's limit is not the child's",
    cgroup: "4:memory:/a/b\n",
    mounts: mount("/", "/sys/fs/cgroup/memory", "cgroup", "memory"),
    files: {
      "memory/a/memory.limit_in_bytes": `${100 * MB}`,
      "memory/a/memory.use_hierarchy": "0\n",
      "memory/a/b/memory.limit_in_bytes": `${900 * MB}`,
    },
    totalMb: 900,
    availableMb: 900,
    memoryLimit: "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
  },
  {
    name: "hybrid: memory on v1, everything else on v2",
    cgroup: "3:memory:/jobs/1\n0::/jobs/1\n",
    mounts:
      mount("/", "/sys/fs/cgroup/unified", "cgroup2", "x") + mount("/", "/sys/fs/cgroup/memory", "cgroup", "memory"),
    files: { "memory/jobs/memory.limit_in_bytes": `${GB}`, "unified/jobs/1/cpu.max": "100000 50000" },
    totalMb: 1024,
    availableMb: 1024,
    quota: 2,
    memoryLimit: "/sys/fs/cgroup/memory/jobs/memory.limit_in_bytes",
  },
  {
    name: "names with blanks, and a group that was removed",
    cgroup: "0::/my jobs/a:b (deleted)\n",
    mounts: mount("/my\\040jobs", "/sys/fs/cgroup/m\\040x", "cgroup2", "x"),
    files: { "m x/memory.max": `${GB}`, "m x/cgroup.procs": "" },
    totalMb: 1024,
    availableMb: 1024,
    memoryLimit: "/sys/fs/cgroup/m x/memory.max",
  },
  {
    name: "more used than allowed leaves nothing",
    ...v2("/a", { "a/memory.max": `${MB}`, "a/memory.current": `${2 * MB}` }),
    totalMb: 1,
    availableMb: 0,
    memoryLimit: "/sys/fs/cgroup/a/memory.max",
  },
  {
    name: "files that hold no numbers set no limit",
    ...v2("/a", { "a/memory.max": "none", "a/cpu.max": "max", "cpu.max": "5 0", "memory.max": "" }),
  },
];

for (const { name, cgroup, mounts, files, totalMb, availableMb, quota, memoryLimit } of LAYOUTS) {
  test(name, () => {
    const found = probeOf({
      "/proc/self/cgroup": cgroup,
      "/proc/self/mountinfo": OTHERS + mounts,
      ...Object.fromEntries(Object.entries(files).map(([path, text]) => [join("/sys/fs/cgroup", path), text])),
    });
    expect({
      totalMb: found.totalMemoryBytes / MB,
      availableMb: found.availableMemoryBytes / MB,
      quota: found.cpuQuota,
      memoryLimit: found.memoryLimit,
    }).toEqual({
      totalMb: totalMb ?? 64 * KB,
      availableMb: availableMb ?? 48 * KB,
      quota: quota ?? 0,
      memoryLimit: memoryLimit ?? "",
    });
    if (quota === undefined) expect(found.cpuLimit).toBe("");
    else expect(found.cpuLimit).toContain("cpu.");
  });
}

test("ulimits bound what can be mapped", () => {
  const limits = (space: string, data: string) =>
    probeOf({
      "/proc/self/limits": `Limit   Soft Limit  Hard Limit  Units\nMax data size             ${data}            unlimited  bytes\nMax address space         ${space}            unlimited            bytes\n`,
      "/proc/self/status": `Name:\tx\nVmSize:\t ${MB} kB\nVmData:\t ${MB / 2} kB\n`,
    });
  expect(limits("unlimited", "unlimited").availableMemoryBytes).toBe(48 * GB);
  expect(limits(`${3 * GB}`, "unlimited")).toMatchObject({ availableMemoryBytes: 2 * GB, memoryLimit: "ulimit -v" });
  expect(limits("unlimited", `${3 * GB}`)).toMatchObject({ availableMemoryBytes: 2.5 * GB, memoryLimit: "ulimit -d" });
});

test("threads follow the quota, to the nearest core, and never exceed the cores", () => {
  const cores = (max: string) =>
    probeOf({ "/proc/self/cgroup": "0::/a\n", "/proc/self/mountinfo": V2, "/sys/fs/cgroup/a/cpu.max": max }).numCores;
  const all = cores("max 100000");
  expect(all).toBe(probe(library).numCores);
  expect(["1000 100000", "100000 100000", "140000 100000"].map(cores)).toEqual([1, 1, 1]);
  expect(cores("150000 100000")).toBe(Math.min(2, all));
  expect(cores("99900000 100000")).toBe(all);
});
