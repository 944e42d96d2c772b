/**
 * A request's stop strings as one automaton (Aho and Corasick 1975): a trie of them all, in which a state is the longest
 * end of the text that begins a stop string. A unit of text costs O(1), however many stop strings there are and however
 * alike. Never changes once made: all choices of a request share it, each with a state of its own.
 */
export class StopStrings {
  readonly #texts: readonly string[];
  /** [unit & 255] 1 where a stop string begins with such a unit: most text is passed over by this alone. */
  readonly #begins = new Uint8Array(256);
  // By state; 0 is the empty end. The states after a state are a list: its child, and that one's siblings.
  readonly #child: Int32Array;
  readonly #sibling: Int32Array;
  /** The unit that leads to a state. */
  readonly #unit: Uint16Array;
  /** The state of the longest proper end that begins a stop string, too. */
  readonly #fallback: Int32Array;
  /** Units of the end that a state is. */
  readonly #depth: Int32Array;
  /** Index of the longest stop string that this end completes, plus 1; 0 is none. */
  readonly #completes: Int32Array;
  #numStates = 1;

  /** stops: none empty. A lone surrogate in one counts as U+FFFD, as it does in text. */
  constructor(stops: readonly string[]) {
    this.#texts = stops.map((stop) => stop.toWellFormed());
    const most = this.#texts.reduce((sum, text) => sum + text.length, 1);
    this.#child = new Int32Array(most);
    this.#sibling = new Int32Array(most);
    this.#unit = new Uint16Array(most);
    this.#fallback = new Int32Array(most);
    this.#depth = new Int32Array(most);
    this.#completes = new Int32Array(most);
    for (const [index, text] of this.#texts.entries()) this.#add(text, index);
    this.#link();
  }

  get isEmpty(): boolean {
    return this.#texts.length === 0;
  }

  /** Where to go on in `text` from `at` with no stop string begun: before the first unit that may begin one, or at its end. */
  skip(text: string, at: number): number {
    while (at < text.length && this.#begins[text.charCodeAt(at) & 255] === 0) at++;
    return at;
  }

  /** The state after one more UTF-16 unit of text. */
  next(state: number, unit: number): number {
    for (;;) {
      const next = this.#after(state, unit);
      if (next !== 0 || state === 0) return next;
      state = this.#fallback[state]!;
    }
  }

  /** The longest stop string that the text in this state ends with. */
  completed(state: number): string | undefined {
    return this.#texts[this.#completes[state]! - 1];
  }

  /** The same text, where a stop string that it ends with does not count: its longest end that may still become one. */
  passed(state: number): number {
    while (state !== 0 && this.#child[state] === 0) state = this.#fallback[state]!;
    return state;
  }

  /** Units at the end of the text that may become a stop string. */
  begun(state: number): number {
    return this.#depth[state]!;
  }

  #after(state: number, unit: number): number {
    let next = this.#child[state]!;
    while (next !== 0 && this.#unit[next] !== unit) next = this.#sibling[next]!;
    return next;
  }

  #add(text: string, index: number): void {
    this.#begins[text.charCodeAt(0) & 255] = 1;
    let state = 0;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      let next = this.#after(state, unit);
      if (next === 0) {
        next = this.#numStates++;
        this.#unit[next] = unit;
        this.#depth[next] = i + 1;
        this.#sibling[next] = this.#child[state]!;
        this.#child[state] = next;
      }
      state = next;
    }
    this.#completes[state] = index + 1;
  }

  /** Breadth first, since fallbacks are shorter. */
  #link(): void {
    const states = new Int32Array(this.#numStates);
    for (let head = 0, tail = 1; head < tail; head++) {
      const state = states[head]!;
      for (let child = this.#child[state]!; child !== 0; child = this.#sibling[child]!) {
        states[tail++] = child;
        if (state !== 0) this.#fallback[child] = this.next(this.#fallback[state]!, this.#unit[child]!);
        if (this.#completes[child] === 0) this.#completes[child] = this.#completes[this.#fallback[child]!]!;
      }
    }
  }
}
