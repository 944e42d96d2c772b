/** Words that one repetition may have: a sentence or a list item. */
const MAX_LOOP_WORDS = 40;
/** Once more is style, a refrain; three times in a row is a loop. */
const MIN_TURNS = 3;
/** "Ha ha ha" is no loop. */
const MIN_LOOP_WORDS = 3;

function words(text: string): string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}']+/gu) ?? [];
}

/** Whether the text says the same words, at least three of them, three times in a row. */
export function hasLoop(text: string): boolean {
  const said = words(text);
  for (let period = MIN_LOOP_WORDS; period <= MAX_LOOP_WORDS; period++) {
    let equal = 0;
    for (let i = period; i < said.length; i++) {
      equal = said[i] === said[i - period] ? equal + 1 : 0;
      if (equal >= period * (MIN_TURNS - 1)) return true;
    }
  }
  return false;
}

/** Share of a text's word triples that differ: 1 where none is said twice; 1 for texts without a triple. */
export function distinctShare(text: string): number {
  const said = words(text);
  const triples = said.slice(2).map((word, i) => `${said[i]} ${said[i + 1]} ${word}`);
  return triples.length === 0 ? 1 : new Set(triples).size / triples.length;
}
