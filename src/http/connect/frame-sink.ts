import { type DescMessage, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { createContextKey } from "@connectrpc/connect";
import { framed } from "./frames.ts";

/**
 * A short way for the messages of a running stream. Between an implementation and the socket Connect has seven async
 * generators, which cost more than all the rest of a token's way out. A transport that offers a sink takes frames as they
 * go on the wire; Connect still does the head, the first message, the end and every error. Frames are the same in Connect,
 * gRPC-Web and gRPC.
 */
export interface FrameSink {
  /** Set while the reader is slow: await it. Throws, or rejects, when the reader is gone or stalled. */
  write(frame: Uint8Array<ArrayBuffer>): Promise<void> | undefined;
}

/** Undefined where messages have to go through Connect. */
export const FRAME_SINK = createContextKey<FrameSink | undefined>(undefined, { description: "frame sink" });

/** Frames carry binary messages; JSON goes through Connect. */
export function takesFrames(header: Headers): boolean {
  return !(header.get("content-type") ?? "json").toLowerCase().includes("json");
}

/** Neither compressed nor the end of a stream. */
export function encodeFrame<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>) {
  return framed(toBinary(schema, message));
}
