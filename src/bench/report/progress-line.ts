import type { LiveFigures } from "../request-log.ts";
import { formatMs, threeDigits } from "./format.ts";

const BAR_WIDTH = 20;

/** One line of progress, no longer than the terminal is wide. */
export function progressLine(title: string, done: number, total: number, live: LiveFigures, columns: number): string {
  const share = total === 0 || !Number.isFinite(total) ? 0 : Math.min(1, done / total);
  const filled = Math.round(share * BAR_WIDTH);
  const bar = `${"█".repeat(filled)}${"░".repeat(BAR_WIDTH - filled)}`;
  const failed = live.failed > 0 ? `  ${live.failed} failed` : "";
  const line =
    `${title} ${bar} ${Number.isFinite(total) ? `${done}/${total}` : done}  TTFT ${formatMs(live.ttftMs)}  ITL ${formatMs(live.itlMs)}  ` +
    `${threeDigits(live.chunksPerS)} tok/s  ${live.inFlight} running${failed}`;
  return line.slice(0, Math.max(20, columns - 1));
}
