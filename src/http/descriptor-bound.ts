import { readdirSync, readFileSync, statSync } from "node:fs";
import type { Limits } from "../config/limits.ts";

/** The file descriptors of a process; each connection is one. */
export interface DescriptorTable {
  /** Most that may be open (RLIMIT_NOFILE); infinite where the system does not say. */
  readonly limit: number;
  /** How many are open now. */
  used(): number;
}

/** This process's own, where there is a /proc. Bun raised the soft limit to the hard one when it started. */
export function processDescriptors(): DescriptorTable {
  return { limit: descriptorLimit(), used: openDescriptors };
}

function descriptorLimit(): number {
  try {
    const soft = /^Max open files +(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

function openDescriptors(): number {
  try {
    // The folder's size is its number of entries since Linux 6.2, and 0 before.
    return statSync("/proc/self/fd").size || readdirSync("/proc/self/fd").length;
  } catch (error) {
    // A full table has no room to list itself.
    return (error as NodeJS.ErrnoException).code === "EMFILE" ? Number.POSITIVE_INFINITY : 0;
  }
}

/** Connections stay so far below the limit of descriptors that everything else still finds some. */
export class DescriptorBound {
  /** Most descriptors that may be open while connections are let in. */
  readonly most: number;
  /** Most connections: what was open when they began to come is needed for other things. */
  readonly mostConnections: number;

  constructor(
    private readonly table: DescriptorTable,
    limits: Pick<Limits, "maxConnections" | "reservedDescriptors">,
  ) {
    const { limit } = table;
    const before = table.used();
    this.most = Math.min(limit - Math.min(limits.reservedDescriptors, limit / 4), before + limits.maxConnections);
    this.mostConnections = this.most - before;
  }

  /** True where there is no room for one more connection. */
  get crowded(): boolean {
    return this.table.used() > this.most;
  }

  /** True when a good part of the room is free again: what was stopped can go on without stopping at once. */
  get relaxed(): boolean {
    return this.table.used() <= this.most - this.mostConnections / 8;
  }
}
