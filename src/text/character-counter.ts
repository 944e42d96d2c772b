/**
 * Counts the characters (code points) that begin in the pieces of a UTF-8 text, cut anywhere. What is no UTF-8 counts as
 * the U+FFFD that a TextDecoder makes of it: one for each maximal part of a character (WHATWG Encoding, UTF-8 decoder),
 * which begins at its first byte. The counts of all pieces add up to the characters of the decoded text.
 */
export class CharacterCounter {
  /** Bytes that the character in progress still needs, and the range of the next one. */
  #needed = 0;
  #lower = 0x80;
  #upper = 0xbf;

  push(bytes: Uint8Array): number {
    let count = 0;
    for (const byte of bytes) {
      if (this.#needed > 0 && byte >= this.#lower && byte <= this.#upper) {
        this.#needed--;
      } else {
        count++;
        this.#needed =
          byte >= 0xc2 && byte <= 0xdf ? 1 : (byte & 0xf0) === 0xe0 ? 2 : byte >= 0xf0 && byte <= 0xf4 ? 3 : 0;
        this.#lower = byte === 0xe0 ? 0xa0 : byte === 0xf0 ? 0x90 : 0x80;
        this.#upper = byte === 0xed ? 0x9f : byte === 0xf4 ? 0x8f : 0xbf;
        continue;
      }
      this.#lower = 0x80;
      this.#upper = 0xbf;
    }
    return count;
  }
}
