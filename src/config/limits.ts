import { MAX_TOP_LOGPROBS } from "../core/sampling-fields.ts";

/** Every bound on what a client can grow, each with its reason. */
export const LIMITS = Object.freeze({
  /**
   * A 128k-token prompt is about 0.5 MB of text, 1.2 MB where every character is escaped. A body is parsed in one go on the
   * event loop: 4 MiB of JSON in 10 to 45 ms.
   */
  maxBodyBytes: 4 * 1024 * 1024,
  /**
   * So a server of short contexts takes less, whatever the protocol: a token is at most 7 bytes as an id, 5 as text; 128 are
   * a batch of about 20 prompts of full length.
   */
  bodyBytesPerToken: 128,
  /** Arrays and objects in each other; parsers and whoever walks the values recurse. */
  maxJsonDepth: 256,
  /**
   * What JSON is made of costs more than its bytes, and it is parsed on the event loop: a name up to 0.8 us where every
   * object has names of its own. 4,096 messages with a text part each have 16,000.
   */
  maxJsonNames: 32 * 1024,
  /** Strings (names are some), arrays and objects: up to 0.35 us. The same messages have 41,000. */
  maxJsonItems: 64 * 1024,
  /** Elements and members: 20 to 40 ns a token id with its checks. Four prompts of a 128k context. */
  maxJsonValues: 512 * 1024,
  /**
   * A JSON message of the RPC API: protobuf's reader goes through the text once more, looking for names that come twice,
   * in 15 to 25 ns a byte. Longer ones fit in binary messages.
   */
  maxRpcJsonBytes: 1536 * 1024,
  /** It takes three to five times as long for what the text is made of. 4,096 messages with names have 12,300. */
  maxRpcJsonNames: 14 * 1024,
  maxRpcJsonItems: 32 * 1024,
  /** One prompt of a 128k context; longer ones fit in binary messages. */
  maxRpcJsonValues: 132 * 1024,
  /** But at least this: room for many short prompts, and for what a chat's JSON has around its texts. */
  minMaxBodyBytes: 1024 * 1024,
  /**
   * The same for a body that came compressed, counted once it is unpacked: 8 kB of gzip may hold 8 MB. Only one long prompt
   * is worth compressing.
   */
  inflatedBytesPerToken: 32,
  /** But at least this. */
  minMaxInflatedBytes: 256 * 1024,
  /** A compressed message in the URL of a Connect GET, unpacked; URLs are for short texts. */
  maxInflatedUrlBytes: 64 * 1024,
  /**
   * Fields of one protobuf message, with those of all messages in it, but for packed lists of ids. A chat of 4096 messages
   * has 16 thousand. Each costs up to 0.5 us and 100 bytes to read.
   */
  maxMessageFields: 32 * 1024,
  /**
   * Work on large requests that one turn of the event loop does before it serves sockets and engine messages again. Short
   * beside the 5 ms and more between two tokens of a stream, long beside the 0.1 ms that a turn costs.
   */
  turnWorkMs: 4,
  /** A request from its arrival to its last token; 0: as long as it takes, since a client that leaves ends it. */
  requestTimeoutMs: 0,
  /** Slow senders hold a socket and a buffer: headers and body must arrive within this. */
  bodyDeadlineMs: 30_000,
  /** A client that reads nothing for this long is dropped; its KV blocks are worth more than its patience. */
  stalledReaderMs: 30_000,
  /** Bytes of a stream that may wait in one socket before the producer pauses. */
  maxBufferedStreamBytes: 128 * 1024,
  /**
   * Output of a request that waits for its reader, behind what waits in the socket. Beyond it nothing more is computed for
   * the request until the reader has taken it all; its KV blocks serve others meanwhile. With what is being encoded, the
   * socket's share and this a slow reader costs at most 256 KiB, and what one step brings.
   */
  maxWaitingOutputBytes: 64 * 1024,
  /** Proxies cut connections silent for 15 s and more; an SSE comment this often keeps them. */
  keepAliveMs: 10_000,
  /**
   * A connection whose request is over is closed after this; pools of clients keep theirs about a minute. Before its first
   * whole request head Bun closes it after 10 s, a constant of its server that also bounds slow heads.
   */
  idleConnectionS: 75,
  /** Connections of all kinds; each costs a descriptor and some 10 kB. The engine's queue is far shorter. */
  maxConnections: 16_384,
  /** Descriptors kept from connections (a quarter of them where there are few): files, pipes, Workers, refusals. */
  reservedDescriptors: 64,
  /** Full tables are noticed within this; a look takes some microseconds. */
  descriptorPollMs: 100,
  /** A refused body up to this size is read and thrown away, so that the client sees the answer; a larger one is cut off. */
  maxDiscardedBodyBytes: 64 * 1024 * 1024,
  /** A request that is refused by its path or protocol is answered when its body has arrived, but after this at the latest. */
  refusedBodyMs: 250,
  /** A connection is kept this long after an answer for what is left of the request's body, which would hold a socket for nothing. */
  unreadBodyS: 5,
  /** Requests of one address that are refused for their key within keyRefusalWindowMs before the answers slow down: people mistype. */
  freeKeyRefusals: 10,
  keyRefusalWindowMs: 60_000,
  /** Each further refusal waits this much longer ... */
  keyRefusalStepMs: 100,
  /** ... up to this: a program with a wrong key sees no time-out. */
  maxKeyRefusalDelayMs: 1000,
  /**
   * Refusals held at once, at about 1 kB; the others go out without delay. Each may hold a socket, so a server of few
   * connections holds a quarter of their number at most.
   */
  maxHeldRefusals: 1024,
  /** Addresses whose refusals are counted, about 100 bytes each; the longest quiet one makes room. */
  maxRefusedAddresses: 4096,
  /** Lines a second about refused requests: enough to see who and why; a flood would fill the disk. */
  refusalLinesPerSecond: 20,
  /** A request id that a client chose; it is copied to every log line. */
  maxRequestIdChars: 128,
  maxMessages: 4096,
  maxStopStrings: 16,
  maxStopStringChars: 256,
  maxStopTokenIds: 128,
  maxLogitBias: 1024,
  maxTopLogprobs: MAX_TOP_LOGPROBS,
  /** Choices of one prompt; each takes a slot. */
  maxChoices: 64,
  /** Prompts in one completions request. */
  maxPrompts: 256,
  /** Prompts times choices of one HTTP request: it must not fill the queue alone. */
  maxChoicesPerRequest: 512,
  /**
   * Tool calls and extra variables for a chat template, arrays and objects included: they are cloned for the Worker on the
   * event loop, at 0.3 us each and at first up to 1 us.
   */
  maxTemplateValues: 32 * 1024,
  /** Chat templates are programs; a loop that runs longer than this is refused. */
  templateDeadlineMs: 2_000,
  /**
   * Characters of all that a template builds on its way, by the context: a chat's text, 5 characters a token, is handled
   * some 10 to 20 times. Strings take one byte a character or two.
   */
  templateCharsPerToken: 512,
  /** But at least this. */
  minMaxTemplateChars: 4 * 1024 * 1024,
  /** And at most this, in the longest contexts. */
  maxTemplateChars: 64 * 1024 * 1024,
  /** Rendered prompts longer than this many characters a token of context cannot fit, so they are refused unread. */
  maxCharsPerToken: 32,
  /** A short text is encoded in milliseconds; a busy machine may take long to run the Worker at all. */
  encodeDeadlineMs: 5_000,
  /** Added for each 1,024 characters: 4 million blanks, the slowest text of a 128k context, take 4 s on one core. */
  encodeDeadlineMsPerKiChar: 8,
  /** A tokenizer Worker is ready within 0.2 s; a machine that swaps may need far longer. */
  tokenizerStartMs: 30_000,
  /** Memory touched before the first request, workspace and KV of one request of full length: 0.1 s of an idle start. */
  maxWarmBytes: 256 * 1024 * 1024,
  /** Pause before a tokenizer Worker that could not start is started again. */
  laneRestartMs: 1_000,
  /** Texts up to this length, 13 ms of work, have a tokenizer Worker to themselves: they never wait for longer ones. */
  expressTextChars: 32 * 1024,
  /** Shorter texts overtake a waiting one only if they come within ten times what it takes itself (0.4 us a character). */
  textPatienceMsPerChar: 0.004,
  /** Texts wait, and none was done for this long: the server is not ready. A 128k context of blanks takes 4 s. */
  textStallMs: 15_000,
  /** Texts of one tenant that wait for a tokenizer Worker: at 50 us a short prompt the last waits under a second. */
  maxQueuedTexts: 4096,
  /** All their characters together: at 0.4 us each the last waits under 15 s. 64 MiB of memory. */
  maxQueuedTextChars: 32 * 1024 * 1024,
  /** The same for all tenants together: twice as much, so that one cannot fill the queue alone. */
  maxQueuedTextsOfAll: 8192,
  maxQueuedTextCharsOfAll: 64 * 1024 * 1024,
  /**
   * A text that is certain to have more tokens than this many contexts is refused before it waits for the tokenizer.
   * More than one, because /tokenize is asked how much too long a text is.
   */
  maxContextsOfText: 4,
  /** Texts up to this length are tokenised where they are, which takes under 1 ms; longer ones go to the Worker. */
  maxInlineTextChars: 512,
  /** The tokenizer's memory never shrinks: a Worker beyond this is replaced. It starts with about 15 MiB. */
  maxEncoderBytes: 96 * 1024 * 1024,
  /** One RPC response. A 32k-token prompt with 20 alternatives a token is about 30 MiB; Connect's own default is 4 GiB. */
  maxRpcResponseBytes: 64 * 1024 * 1024,
  /** 24.8 days: setTimeout takes 31 bits and fires at once beyond them. A longer RPC timeout, which is legal, becomes this. */
  maxRpcTimeoutMs: 2 ** 31 - 1,
  /** Calls open on one gRPC connection; more wait in the client. The engine's queue is the real bound. */
  maxGrpcStreams: 1024,
  /** Each holds a socket, HPACK tables and flow-control windows. */
  maxGrpcConnections: 4096,
  /** gRPC metadata; the usual limit of gRPC servers is 8 KiB, and some tokens are larger. */
  maxGrpcHeaderBytes: 16 * 1024,
  /** A header block as it is sent; beyond this not even wasteful coding brings it within the bytes above. */
  maxGrpcHeaderBlockBytes: 64 * 1024,
  /** Frames without work (PING, PRIORITY, empty DATA ...) of one gRPC connection at once: 1,024 calls cancelled together are 2,048. */
  grpcFrameBurst: 4096,
  /** Such frames a second after that; keep-alive takes one in 10 s, and what a reader sends is earned by what it reads. */
  grpcFramesPerS: 1000,
  /** What a reader may have earned and not used: two frames for each message in 1 MiB of short ones. */
  maxGrpcFrameCredit: 65_536,
  /** Bytes a client may send on one stream before we read: a long prompt in one round trip. */
  grpcStreamWindowBytes: 1024 * 1024,
  /** A connection is pinged this often, and dropped when the last ping is still unanswered. */
  grpcKeepAliveMs: 20_000,
  /** A new connection must finish the HTTP/2 preface within this. */
  grpcPrefaceMs: 10_000,
  /** Health watchers learn of a change within this; reading the status costs microseconds. */
  healthPollMs: 250,
  /** bench: a response's headers, or one chunk-size line; proxies add a few kB, nothing honest adds more. */
  maxBenchHeadBytes: 64 * 1024,
  /** bench: one server-sent event; 20 top logprobs of a token are under 4 kB, a whole text in one event under 1 MiB. */
  maxBenchEventBytes: 4 * 1024 * 1024,
  /** bench: the body of a refused request, kept for its message. */
  maxBenchErrorBytes: 16 * 1024,
  /** bench: sockets at once in an open loop; below the usual 1024 file descriptors of a process. */
  maxBenchInFlight: 900,
  /** bench: requests of one run; each keeps its arrival times, about 1 kB for 128 tokens. */
  maxBenchRequests: 1_000_000,
  /** bench: a dataset or trace is read whole; ShareGPT is 0.7 GB. */
  maxBenchDatasetBytes: 1024 * 1024 * 1024,
});

/** The same bounds with other values: tests shorten the times. */
export type Limits = { readonly [K in keyof typeof LIMITS]: number };
