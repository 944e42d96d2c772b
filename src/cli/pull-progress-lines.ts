import type { PullProgress } from "../model/hub/pull.ts";
import { formatBytes } from "./format.ts";

const BAR_CELLS = 24;

/**
 * A line a file, none wider than `columns` cells, so that a terminal does not wrap it. The bar goes first where there is no
 * room. Of more files than `rows`, those that are under way.
 */
export function pullProgressLines(files: readonly PullProgress[], columns: number, rows: number): string[] {
  const shown = files.length <= rows ? files : files.toSorted((a, b) => rank(a) - rank(b)).slice(0, rows);
  const width = Math.max(...shown.map(({ file }) => Bun.stringWidth(file)), 0);
  return shown.map((progress) => {
    const { file, state, totalBytes } = progress;
    const doneBytes = isDone(progress) ? totalBytes : progress.doneBytes;
    const share = totalBytes === 0 ? 1 : doneBytes / totalBytes;
    const cells = Math.round(share * BAR_CELLS);
    const bar = "█".repeat(cells) + "░".repeat(BAR_CELLS - cells);
    const percent = `${Math.floor(share * 100)}%`.padStart(4);
    const figures = `${percent}  ${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}  ${state}`;
    const name = file + " ".repeat(width - Bun.stringWidth(file));
    const line = `${name}  ${bar} ${figures}`;
    if (Bun.stringWidth(line) <= columns) return line;
    // The end of a name tells files apart.
    const room = Math.max(1, columns - figures.length - 2);
    const shortName = Bun.stringWidth(file) <= room ? file : Bun.sliceAnsi(file, -room, undefined, { ellipsis: "…" });
    return Bun.sliceAnsi(`${shortName}  ${figures}`, 0, columns);
  });
}

function isDone({ state }: PullProgress): boolean {
  return state === "done" || state === "cached";
}

/** Files under way, then those to come, then those that are there. */
function rank(progress: PullProgress): number {
  if (isDone(progress)) return 2;
  return progress.state === "downloading" || progress.state === "verifying" ? 0 : 1;
}
