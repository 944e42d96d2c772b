import { existsSync } from "node:fs";

/** Where `make go-tools` puts what it builds; it needs Go. */
const FOLDER = "build/go-tools";

export interface GoTool {
  readonly path: string;
  readonly missing: boolean;
}

/** A program of `make go-tools`. Where it is missing, says so once: its tests are skipped. */
export function goTool(name: string): GoTool {
  const path = `${FOLDER}/${name}`;
  const missing = !existsSync(path);
  if (missing) console.warn(`SKIPPED: there is no ${path}; 'make go-tools' builds it where Go is installed.`);
  return { path, missing };
}
