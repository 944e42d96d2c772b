/** Bytes before each message of a stream, in Connect, gRPC-Web and gRPC: flags, then the length. */
export const PREFIX_BYTES = 5;
/** Flag: the message is compressed. */
export const COMPRESSED = 0b01;
/** Flag of Connect's: the frame ends the stream, with JSON. */
export const END_STREAM = 0b10;

/** What goes before a message of this length. */
export function framePrefix(length: number, flags = 0): Uint8Array<ArrayBuffer> {
  const prefix = new Uint8Array(PREFIX_BYTES);
  prefix[0] = flags;
  new DataView(prefix.buffer).setUint32(1, length);
  return prefix;
}

/** A message as it goes on the wire. */
export function framed(message: Uint8Array, flags = 0): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(PREFIX_BYTES + message.length);
  frame[0] = flags;
  new DataView(frame.buffer).setUint32(1, message.length);
  frame.set(message, PREFIX_BYTES);
  return frame;
}
