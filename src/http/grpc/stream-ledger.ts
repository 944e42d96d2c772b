import { constants } from "node:http2";

/** Why a connection must end: an error code of HTTP/2, and a sentence for the peer's log. */
export interface Violation {
  readonly errorCode: number;
  readonly reason: string;
}

const CLIENT_ENDED = 1;
const SERVER_ENDED = 2;
/** Streams that the server reset and whose client may not know it yet. Clients open far fewer within one round trip. */
const MAX_RESET = 1024;

/**
 * The states of one connection's streams (RFC 9113, section 5.1), from the frames of both sides. Client streams have odd
 * ids in rising order; an id that was passed over is closed.
 *
 *      used, all of them closed but `open`        idle
 *     ├────────────────┬──────────────────────┤├─────────
 *     1         usedFrom               highestId
 */
export class StreamLedger {
  /** Of the streams that are not closed: which side has ended its half. */
  private readonly open = new Map<number, number>();
  /** Oldest first. */
  private readonly reset = new Set<number>();
  /** The highest id that was dropped from `reset`: of those up to it nobody knows how they ended. */
  private forgottenId = 0;
  private usedFrom = 1;
  highestId = 0;

  headers(id: number, endsStream: boolean): Violation | undefined {
    const ended = this.open.get(id);
    if (ended === undefined && id > this.highestId) {
      if (id % 2 === 0) return undefined; // The session refuses it.
      if (id !== this.highestId + 2) this.usedFrom = id;
      this.highestId = id;
      this.open.set(id, endsStream ? CLIENT_ENDED : 0);
      return undefined;
    }
    if (ended !== undefined) return this.clientGoesOn(id, ended, endsStream);
    if (id === 0 || (this.reset.has(id) && endsStream)) return undefined; // The latter are trailers under way.
    return id < this.usedFrom || id % 2 === 0
      ? { errorCode: constants.NGHTTP2_PROTOCOL_ERROR, reason: "stream ids must rise" }
      : { errorCode: constants.NGHTTP2_STREAM_CLOSED, reason: "HEADERS on a closed stream" };
  }

  data(id: number, endsStream: boolean): Violation | undefined {
    const ended = this.open.get(id);
    if (ended !== undefined) return this.clientGoesOn(id, ended, endsStream);
    if (this.isIdle(id)) return { errorCode: constants.NGHTTP2_PROTOCOL_ERROR, reason: "DATA on an idle stream" };
    if (id <= this.forgottenId || this.reset.has(id)) return undefined;
    return { errorCode: constants.NGHTTP2_STREAM_CLOSED, reason: "DATA on a closed stream" };
  }

  windowUpdate(id: number): Violation | undefined {
    if (!this.isIdle(id)) return undefined;
    return { errorCode: constants.NGHTTP2_PROTOCOL_ERROR, reason: "WINDOW_UPDATE on an idle stream" };
  }

  clientReset(id: number): Violation | undefined {
    if (this.isIdle(id)) return { errorCode: constants.NGHTTP2_PROTOCOL_ERROR, reason: "RST_STREAM on an idle stream" };
    this.open.delete(id);
    return undefined;
  }

  serverEnded(id: number): void {
    const ended = this.open.get(id);
    if (ended !== undefined) this.setEnded(id, ended | SERVER_ENDED);
  }

  /** False when the stream was closed before. */
  serverReset(id: number): boolean {
    const ended = this.open.get(id);
    if (ended === undefined) return false;
    this.open.delete(id);
    if (ended & CLIENT_ENDED) return true;
    this.reset.add(id);
    if (this.reset.size > MAX_RESET) {
      const [oldest] = this.reset as Iterable<number>;
      this.reset.delete(oldest!);
      this.forgottenId = Math.max(this.forgottenId, oldest!);
    }
    return true;
  }

  private clientGoesOn(id: number, ended: number, endsStream: boolean): Violation | undefined {
    if (ended & CLIENT_ENDED) {
      return { errorCode: constants.NGHTTP2_STREAM_CLOSED, reason: "a frame after the end of its stream" };
    }
    if (endsStream) this.setEnded(id, ended | CLIENT_ENDED);
    return undefined;
  }

  private setEnded(id: number, ended: number): void {
    if (ended === (CLIENT_ENDED | SERVER_ENDED)) this.open.delete(id);
    else this.open.set(id, ended);
  }

  /** Stream 0 is the connection, which is never idle. */
  private isIdle(id: number): boolean {
    return id > this.highestId || (id % 2 === 0 && id !== 0);
  }
}
