/** Frames of HTTP/2 (RFC 9113): a head of length (3 bytes), type, flags and stream id (4), then the payload. */
export const FRAME_HEAD_BYTES = 9;

/** What every client sends first; its first frame follows. */
export const CLIENT_PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

export const FrameType = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

/** One bit each; PING and SETTINGS use the first as ACK. */
export const FrameFlag = { endStream: 0x1, ack: 0x1, padded: 0x8, priority: 0x20 } as const;

export function frameLength(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
}

/** Four bytes without the first bit, which is reserved: a stream id. */
export function streamIdAt(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! & 0x7f) << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}

/** The last frame of a connection. Streams above `lastStreamId` were not looked at, so a client may send them again. */
export function goawayFrame(lastStreamId: number, errorCode: number, reason: string): Buffer {
  const text = Buffer.from(reason);
  const head = Buffer.alloc(FRAME_HEAD_BYTES + 8);
  head.writeUIntBE(8 + text.length, 0, 3);
  head[3] = FrameType.goaway;
  head.writeUInt32BE(lastStreamId, FRAME_HEAD_BYTES);
  head.writeUInt32BE(errorCode, FRAME_HEAD_BYTES + 4);
  return Buffer.concat([head, text]);
}
