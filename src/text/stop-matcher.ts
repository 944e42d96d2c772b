/** One stop string and how much of it the text so far ends with (Knuth, Morris and Pratt 1977). */
class StopPattern {
  readonly text: string;
  /** failure[i]: length of the longest proper prefix of text that ends text[0..i]. */
  readonly #failure: Int32Array;
  matched = 0;

  constructor(text: string) {
    this.text = text;
    this.#failure = new Int32Array(text.length);
    for (let i = 1, k = 0; i < text.length; i++) {
      while (k > 0 && text.charCodeAt(i) !== text.charCodeAt(k)) k = this.#failure[k - 1]!;
      if (text.charCodeAt(i) === text.charCodeAt(k)) k++;
      this.#failure[i] = k;
    }
  }

  /** Takes the text's next UTF-16 unit; true when the stop string is now complete. */
  advance(unit: number): boolean {
    while (this.matched > 0 && this.text.charCodeAt(this.matched) !== unit) {
      this.matched = this.#failure[this.matched - 1]!;
    }
    if (this.text.charCodeAt(this.matched) === unit) this.matched++;
    return this.matched === this.text.length;
  }
}

/**
 * Finds stop strings in a stream of text, across its pieces. The stop string that completes first ends the text (of two
 * that complete together, the longer, so that no part of a found stop string is let through): an end that does not depend
 * on how the text was cut into pieces, found without waiting for text that may never come. The longest end of the text
 * that could still begin a stop string is held back. O(stops) a UTF-16 unit, whatever the strings.
 */
export class StopMatcher {
  readonly #patterns: readonly StopPattern[];
  readonly #includeStop: boolean;
  /** [unit & 255] 1 where a stop string begins with such a unit: most text is passed over by this alone. */
  readonly #begins = new Uint8Array(256);
  #held = "";
  #stop: string | undefined;

  /** stops: none empty. A lone surrogate in one counts as U+FFFD, as it does in text. */
  constructor(stops: readonly string[], includeStopStrInOutput: boolean) {
    this.#patterns = stops.map((stop) => new StopPattern(stop.toWellFormed()));
    this.#includeStop = includeStopStrInOutput;
    for (const { text } of this.#patterns) this.#begins[text.charCodeAt(0) & 255] = 1;
  }

  /** The stop string found, if any. */
  get stop(): string | undefined {
    return this.#stop;
  }

  /** The text that may be let through now. After a stop has been found, nothing more is. */
  push(text: string): string {
    if (this.#stop !== undefined) return "";
    if (this.#patterns.length === 0) return text;
    const all = this.#held + text;
    let i = this.#held.length;
    if (i === 0) while (i < all.length && this.#begins[all.charCodeAt(i) & 255] === 0) i++;
    for (; i < all.length; i++) {
      const unit = all.charCodeAt(i);
      let found: string | undefined;
      for (const pattern of this.#patterns) {
        if (pattern.advance(unit) && pattern.text.length > (found?.length ?? 0)) found = pattern.text;
      }
      if (found !== undefined) {
        this.#stop = found;
        this.#held = "";
        const end = i + 1;
        return all.slice(0, this.#includeStop ? end : end - found.length);
      }
    }
    let possible = 0;
    for (const pattern of this.#patterns) possible = Math.max(possible, pattern.matched);
    this.#held = all.slice(all.length - possible);
    return all.slice(0, all.length - possible);
  }

  /** The text held back, when no more comes: the stop string it began was never finished. */
  flush(): string {
    const held = this.#held;
    this.#held = "";
    return held;
  }
}
