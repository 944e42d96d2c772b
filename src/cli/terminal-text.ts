/**
 * Text from elsewhere (a model, a server) as it may go to `stream`: a terminal gets no control characters but line breaks
 * and tabs, since escape sequences could change its title, its clipboard or what it shows. A file or pipe gets all.
 */
export function terminalText(text: string, stream: { readonly isTTY?: boolean }): string {
  return stream.isTTY ? text.replaceAll("\r", "").replace(/(?![\n\t])\p{Cc}/gu, "\ufffd") : text;
}
