/** Longest piece of a client's text in an error, a header or a log line: enough to recognise a name, a path or a value. */
export const MAX_REFLECTED_CHARS = 200;

/**
 * A text that came from outside, as it may go back out: at most `maxChars` characters and a "…" where it was longer, and
 * well-formed (lone surrogates become U+FFFD), since strict JSON parsers refuse anything else.
 */
export function reflected(text: string, maxChars = MAX_REFLECTED_CHARS): string {
  return (text.length <= maxChars ? text : `${text.slice(0, maxChars)}…`).toWellFormed();
}
