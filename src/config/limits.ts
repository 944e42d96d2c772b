/** Every bound on what a client can grow, each with its reason. */
export const LIMITS = Object.freeze({
  /** A 128k-token prompt is about 0.5 MB of text; 8 MiB leaves room for escapes and long chats. */
  maxBodyBytes: 8 * 1024 * 1024,
  /** Slow senders hold a socket and a buffer: headers and body must arrive within this. */
  bodyDeadlineMs: 30_000,
  /** A client that reads nothing for this long is dropped; its KV blocks are worth more than its patience. */
  stalledReaderMs: 30_000,
  /** Bytes of a stream that may wait in one socket before the producer pauses. */
  maxBufferedStreamBytes: 256 * 1024,
  /** Proxies cut connections silent for 15 s and more; an SSE comment this often keeps them. */
  keepAliveMs: 10_000,
  maxMessages: 4096,
  maxStopStrings: 16,
  maxStopStringChars: 256,
  maxStopTokenIds: 128,
  maxLogitBias: 1024,
  maxTopLogprobs: 20,
  /** Choices of one prompt; each takes a slot. */
  maxChoices: 64,
  /** Prompts in one completions request. */
  maxPrompts: 256,
  /** Chat templates are programs; a loop that runs longer than this is refused. */
  templateDeadlineMs: 2_000,
  /** Rendered prompts longer than this many characters a token of context cannot fit, so they are refused unread. */
  maxCharsPerToken: 32,
});
