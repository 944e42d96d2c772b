/** What a reader sees as one character, whatever it is made of. */
const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });
/** A line of ``` or ~~~ begins or ends code, whose lines stay as long as they are. */
const FENCE = /^ {0,3}(```|~~~)/;
const TAB_CELLS = 8;

/**
 * Breaks streamed text at words so that no line is wider than the terminal. Widths are cells: a CJK character or an emoji
 * takes two, and a line may break before it. A word comes out when it is whole; code between fences is not broken.
 */
export class WordWrap {
  readonly #width: () => number;
  /** Cells of the line so far, and the line. */
  #column = 0;
  #line = "";
  #inCode = false;
  /** A word that may go on, and the blanks before it. */
  #blanks = "";
  #word = "";

  /** `width` is asked for each word, since terminals change size; Infinity never breaks. */
  constructor(width: () => number) {
    this.#width = width;
  }

  /** What can be printed now. */
  push(text: string): string {
    let out = "";
    // A character may have come in two parts: the word is read again from its beginning.
    const pending = this.#word + text;
    this.#word = "";
    let lastIsWide = false;
    for (const { segment } of graphemes.segment(pending)) {
      if (segment === "\n" || segment === "\r\n") {
        out += this.#placeWord() + this.#endLine();
      } else if (segment === " " || segment === "\t") {
        out += this.#placeWord();
        this.#blanks += segment;
      } else {
        const isWide = Bun.stringWidth(segment) > 1;
        if (isWide || lastIsWide) out += this.#placeWord();
        this.#word += segment;
        lastIsWide = isWide;
        continue;
      }
      lastIsWide = false;
    }
    return out;
  }

  /** The rest, at the end of a text; the next one begins on a line of its own. */
  flush(): string {
    const out = this.#placeWord();
    this.#endLine();
    this.#inCode = false;
    return out;
  }

  #placeWord(): string {
    if (this.#word === "") return "";
    const blanks = this.#blanks;
    const word = this.#word;
    this.#blanks = "";
    this.#word = "";
    const cells = Bun.stringWidth(word);
    const start = this.#columnAfter(blanks);
    const breaks = !this.#inCode && this.#column > 0 && start + cells > this.#width();
    this.#column = breaks ? cells : start + cells;
    this.#line = breaks ? word : this.#line + blanks + word;
    return breaks ? `\n${word}` : blanks + word;
  }

  #columnAfter(blanks: string): number {
    let column = this.#column;
    for (const blank of blanks) column += blank === "\t" ? TAB_CELLS - (column % TAB_CELLS) : 1;
    return column;
  }

  #endLine(): string {
    if (FENCE.test(this.#line)) this.#inCode = !this.#inCode;
    this.#column = 0;
    this.#line = "";
    this.#blanks = "";
    return "\n";
  }
}
