import { formatMs, threeDigits } from "../bench/report/format.ts";
import { progressLine } from "../bench/report/progress-line.ts";
import { pointAt, pointsOf } from "../bench/results.ts";
import type { BenchObserver } from "../bench/run-bench.ts";

/** A terminal that does not say how wide it is. */
const UNKNOWN_WIDTH = 80;
const CLEAR_LINE = "\r\x1b[K";

/** Progress on standard error: one live line on a terminal, a line for each finished load elsewhere. */
export function benchProgress(stream: NodeJS.WriteStream): BenchObserver {
  const live = stream.isTTY === true;
  const clear = live ? CLEAR_LINE : "";
  return {
    onPrepare(message) {
      stream.write(`${clear}${message}${live ? "" : "\n"}`);
    },
    onProgress(cell, endpoint, done, total, figures) {
      if (live)
        stream.write(
          clear + progressLine(`${endpoint} ${cell.label}`, done, total, figures, stream.columns || UNKNOWN_WIDTH),
        );
    },
    onSliceEnd(cell, endpoint, results) {
      const figures = pointAt(pointsOf(results), endpoint, cell.index)?.figures;
      if (figures === undefined) return;
      const failed = figures.failed > 0 ? `, ${figures.failed} failed` : "";
      stream.write(
        `${clear}${endpoint} ${cell.label}: ${figures.finished} finished${failed}, ` +
          `TTFT ${formatMs(figures.ttftMs?.p50)}, ITL ${formatMs(figures.itlMs?.p50)}, ` +
          `${threeDigits(figures.outputTokensPerS)} tok/s in ${threeDigits(figures.elapsedS)} s\n`,
      );
    },
  };
}
