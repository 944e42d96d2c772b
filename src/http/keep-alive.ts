/**
 * Calls `beat` before a stream has been silent for `periodMs`, and again every `periodMs` while the silence lasts. A touch
 * costs nothing: time is not read, a timer of half the period looks whether there was one.
 */
export class KeepAlive {
  private touched = true;
  private readonly timer: ReturnType<typeof setInterval>;

  constructor(periodMs: number, beat: () => void) {
    this.timer = setInterval(() => {
      const silent = !this.touched;
      // A beat is output too.
      this.touched = silent;
      if (silent) beat();
    }, periodMs / 2);
  }

  touch(): void {
    this.touched = true;
  }

  stop(): void {
    clearInterval(this.timer);
  }
}
