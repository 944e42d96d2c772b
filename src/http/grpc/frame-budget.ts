import type { Limits } from "../../config/limits.ts";
import type { Clock } from "../../core/clock.ts";

/**
 * A token bucket for one connection's frames that do no work. It fills with time, and with every message sent: a reader
 * answers those with WINDOW_UPDATE and PING frames, however fast they come.
 */
export class FrameBudget {
  private balance: number;
  private refilledMs: number;

  constructor(
    private readonly limits: Pick<Limits, "grpcFrameBurst" | "grpcFramesPerS" | "maxGrpcFrameCredit">,
    private readonly clock: Clock,
  ) {
    this.balance = limits.grpcFrameBurst;
    this.refilledMs = clock.nowMs();
  }

  earn(credit: number): void {
    if (this.balance < this.limits.maxGrpcFrameCredit) this.balance += credit;
  }

  /** False when the budget is spent. The clock is read only then, so an idle hour may count once for a second burst. */
  spend(cost: number): boolean {
    this.balance -= cost;
    return this.balance >= 0 || this.refill();
  }

  private refill(): boolean {
    const { grpcFrameBurst, grpcFramesPerS } = this.limits;
    const nowMs = this.clock.nowMs();
    this.balance = Math.min(grpcFrameBurst, this.balance + ((nowMs - this.refilledMs) / 1000) * grpcFramesPerS);
    this.refilledMs = nowMs;
    return this.balance >= 0;
  }
}
