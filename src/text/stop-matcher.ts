import type { StopStrings } from "./stop-strings.ts";

/**
 * Finds stop strings in a stream of text, across its pieces. The stop string that completes first ends the text (of two
 * that complete together, the longer, so that no part of a found stop string is let through): an end that does not depend
 * on how the text was cut into pieces, found without waiting for text that may never come. The longest end of the text
 * that could still begin a stop string is held back.
 */
export class StopMatcher {
  readonly #stops: StopStrings;
  readonly #includeStop: boolean;
  #state = 0;
  #held = "";
  #stop: string | undefined;

  constructor(stops: StopStrings, includeStopStrInOutput: boolean) {
    this.#stops = stops;
    this.#includeStop = includeStopStrInOutput;
  }

  /** The stop string found, if any. */
  get stop(): string | undefined {
    return this.#stop;
  }

  /**
   * The text that may be let through now. After a stop has been found, nothing more is. Where `mayStop` is false, stop
   * strings that this text completes are let through; those that it only begins may still be completed by later text.
   */
  push(text: string, mayStop = true): string {
    const stops = this.#stops;
    if (this.#stop !== undefined) return "";
    if (stops.isEmpty) return text;
    const all = this.#held + text;
    let state = this.#state;
    for (let i = this.#held.length; i < all.length; i++) {
      if (state === 0) {
        i = stops.skip(all, i);
        if (i === all.length) break;
      }
      state = stops.next(state, all.charCodeAt(i));
      const found = mayStop ? stops.completed(state) : undefined;
      if (found !== undefined) {
        this.#stop = found;
        this.#held = "";
        const end = i + 1;
        return all.slice(0, this.#includeStop ? end : end - found.length);
      }
    }
    if (!mayStop) state = stops.passed(state);
    this.#state = state;
    const passed = all.length - stops.begun(state);
    this.#held = all.slice(passed);
    return all.slice(0, passed);
  }

  /** The text held back, when no more comes: the stop string it began was never finished. */
  flush(): string {
    const held = this.#held;
    this.#held = "";
    return held;
  }
}
