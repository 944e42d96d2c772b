import { hubEnvironment } from "../config/environment.ts";
import { type PulledModel, type PullProgress, pull } from "../model/hub/pull.ts";
import { formatBytes } from "./format.ts";
import { pullProgressLines } from "./pull-progress-lines.ts";

/** A terminal that does not say how large it is. */
const UNKNOWN_COLUMNS = 80;
const UNKNOWN_ROWS = 24;
/** Redraws are for eyes. */
const REDRAW_MS = 100;

/** Pulls a model with the hub's environment, drawing a bar a file on standard error. Ctrl-C keeps partial files. */
export async function pullWithProgress(id: string, revision: string): Promise<PulledModel> {
  const { endpoint, token, cacheDir } = hubEnvironment();
  const abort = new AbortController();
  const onSignal = () => abort.abort();
  process.once("SIGINT", onSignal);
  const bars = new ProgressBars(process.stderr);
  try {
    return await pull(id, {
      endpoint,
      token,
      cacheDir,
      revision,
      signal: abort.signal,
      onProgress: (p) => bars.update(p),
    });
  } finally {
    bars.finish();
    process.removeListener("SIGINT", onSignal);
  }
}

/** One line a file, redrawn in place on a terminal; elsewhere one line when a file is done. */
class ProgressBars {
  readonly #files = new Map<string, PullProgress>();
  readonly #out: NodeJS.WriteStream;
  #drawn = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(out: NodeJS.WriteStream) {
    this.#out = out;
    if (out.isTTY) this.#timer = setInterval(() => this.#draw(), REDRAW_MS);
  }

  update(progress: PullProgress): void {
    this.#files.set(progress.file, progress);
    if (!this.#out.isTTY && (progress.state === "done" || progress.state === "cached")) {
      this.#out.write(`${progress.file}: ${formatBytes(progress.totalBytes)} ${progress.state}\n`);
    }
  }

  finish(): void {
    clearInterval(this.#timer);
    if (this.#out.isTTY) this.#draw();
  }

  #draw(): void {
    const { columns, rows } = this.#out;
    // The cursor stays below the last line.
    const lines = pullProgressLines([...this.#files.values()], columns || UNKNOWN_COLUMNS, (rows || UNKNOWN_ROWS) - 1);
    const up = this.#drawn > 0 ? `\x1b[${this.#drawn}A` : "";
    this.#out.write(`${up}\x1b[J${lines.map((line) => `${line}\n`).join("")}`);
    this.#drawn = lines.length;
  }
}
