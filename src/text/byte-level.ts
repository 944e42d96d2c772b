/**
 * GPT-2's printable stand-ins for bytes: byte-level BPE vocabularies are written with one character a byte, where bytes
 * that do not print (space, controls, 0x7f-0xa0, 0xad) stand 256 and more code points up (space is "Ġ").
 */
const BYTE_OF_CHAR = new Map<number, number>();
for (let byte = 0, next = 256; byte < 256; byte++) {
  const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  BYTE_OF_CHAR.set(printable ? byte : next++, byte);
}
/** [code point] the byte, or -1; every stand-in lies below 512. */
const BYTE_BY_CODE = Int16Array.from({ length: 512 }, (_, code) => BYTE_OF_CHAR.get(code) ?? -1);

/**
 * Writes the bytes that a byte-level token stands for to out from `at` on and returns how many, or -1 where a character
 * is no stand-in (added tokens are written as they are).
 */
export function decodeByteLevel(token: string, out: Uint8Array, at: number): number {
  for (let i = 0; i < token.length; i++) {
    const code = token.charCodeAt(i);
    const byte = code < 512 ? BYTE_BY_CODE[code]! : -1;
    if (byte < 0) return -1;
    out[at + i] = byte;
  }
  return token.length;
}
