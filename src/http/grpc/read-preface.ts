import type { Socket } from "node:net";
import { CLIENT_PREFACE } from "./http2-frames.ts";

/** HTTP/1's first line ends within this. */
const MAX_FIRST_LINE_BYTES = 4096;

/**
 * Reads a new connection until it is known to speak HTTP/2, or something else: calls one of the two, with what was read.
 * Of a text it reads a whole line.
 */
export function readPreface(socket: Socket, then: { http2(early: Buffer): void; other(received: Buffer): void }): void {
  let received = Buffer.alloc(0);
  const onData = (chunk: Buffer): void => {
    received = Buffer.concat([received, chunk]);
    const length = Math.min(received.length, CLIENT_PREFACE.length);
    const matches = received.subarray(0, length).equals(CLIENT_PREFACE.subarray(0, length));
    if (matches && length < CLIENT_PREFACE.length) return;
    if (!matches && isUnfinishedLine(received)) return;
    socket.off("data", onData);
    if (matches) then.http2(received.subarray(length));
    else then.other(received);
  };
  socket.on("data", onData);
}

function isUnfinishedLine(received: Buffer): boolean {
  const startsWithCapital = received[0]! >= 0x41 && received[0]! <= 0x5a;
  return startsWithCapital && received.length < MAX_FIRST_LINE_BYTES && !received.includes("\n");
}
