import { reportFault } from "../core/report-fault.ts";

/**
 * Runs tasks at the end of the current turn of the event loop, each once however often it was added. All of a server's
 * streams share one queue: a step that gives 64 streams a token costs one timer, not 64.
 */
export class TurnQueue {
  private tasks = new Set<() => void>();

  /** `report` takes what a task throws. */
  constructor(private readonly report: (error: unknown) => void = reportFault) {}

  add(task: () => void): void {
    if (this.tasks.size === 0) setImmediate(() => this.run());
    this.tasks.add(task);
  }

  /** Called by the queue itself when the turn ends. */
  run(): void {
    const { tasks } = this;
    this.tasks = new Set();
    for (const task of tasks) {
      try {
        task();
      } catch (error) {
        // The other streams of this turn get their share.
        this.report(error);
      }
    }
  }
}
