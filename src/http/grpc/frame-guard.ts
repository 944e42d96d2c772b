import { constants } from "node:http2";
import type { Limits } from "../../config/limits.ts";
import type { Clock } from "../../core/clock.ts";
import { FrameBudget } from "./frame-budget.ts";
import { FRAME_HEAD_BYTES, FrameFlag, FrameType, frameLength, streamIdAt } from "./http2-frames.ts";
import { StreamLedger, type Violation } from "./stream-ledger.ts";

const NOTHING: Buffer = Buffer.alloc(0);
/** A DATA frame with less than this, and not the stream's last, is charged: it costs us more than its sender. */
const MIN_DATA_BYTES = 64;
/** Budget a message sent earns: its reader's two WINDOW_UPDATE frames and a PING that measures the round trip. */
const CREDIT_OF_DATA = 2;
/**
 * What a frame costs, where it is not 1. WINDOW_UPDATE is one addition, and readers send many. A reset undoes the start of
 * a call. A call is work, unless this side has to reset it (malformed, or one too many): that costs 1 afterwards.
 */
const COST: Partial<Record<number, number>> = {
  [FrameType.windowUpdate]: 0.25,
  [FrameType.rstStream]: 2,
  [FrameType.headers]: 0,
};
const PING_BYTES = FRAME_HEAD_BYTES + 8;

/**
 * Watches the frames of one HTTP/2 connection, both ways, without changing them: the session behind it (Bun's) checks each
 * frame's own form, this adds what that does not see: streams that are idle or closed, streams that depend on themselves,
 * acknowledgements nobody asked for, header blocks without end, and floods of frames that do no work.
 */
export class FrameGuard {
  private readonly ledger = new StreamLedger();
  private readonly budget: FrameBudget;
  /** Received bytes that cannot be judged yet: less than a frame's head and the first bytes behind it. */
  private held = NOTHING;
  /** Bytes still to come of a frame that was let through. */
  private receiving = 0;
  private headerBlockBytes = 0;
  private pingsUnanswered = 0;
  /** The same of the frames sent, of which only the heads are read. */
  private sentHead = NOTHING;
  private sending = 0;

  constructor(
    private readonly limits: Limits,
    clock: Clock,
  ) {
    this.budget = new FrameBudget(limits, clock);
  }

  /** The last stream that the client opened. */
  get lastStreamId(): number {
    return this.ledger.highestId;
  }

  /** Hands received bytes to `pass`, up to the first frame that ends the connection: that is returned. */
  received(chunk: Buffer, pass: (bytes: Buffer) => void): Violation | undefined {
    const bytes = this.held.length === 0 ? chunk : Buffer.concat([this.held, chunk]);
    this.held = NOTHING;
    let from = 0;
    let at = Math.min(this.receiving, bytes.length);
    this.receiving -= at;
    let violation: Violation | undefined;
    while (at < bytes.length) {
      const needed = at + FRAME_HEAD_BYTES > bytes.length ? FRAME_HEAD_BYTES : this.neededBytes(bytes, at);
      if (at + needed > bytes.length) {
        this.held = bytes.subarray(at);
        break;
      }
      if (this.isUnaskedPong(bytes, at)) {
        violation = this.charge(FrameType.ping);
        if (violation !== undefined) break;
        if (at > from) pass(bytes.subarray(from, at));
        from = at += PING_BYTES;
        continue;
      }
      violation = this.check(bytes, at);
      if (violation !== undefined) break;
      const end = at + FRAME_HEAD_BYTES + frameLength(bytes, at);
      at = Math.min(end, bytes.length);
      this.receiving = end - at;
    }
    const passed = violation === undefined ? bytes.length - this.held.length : at;
    if (passed > from) pass(from === 0 && passed === bytes.length ? bytes : bytes.subarray(from, passed));
    return violation;
  }

  /** Notes what the session sends. */
  sent(chunk: Buffer): void {
    const bytes = this.sentHead.length === 0 ? chunk : Buffer.concat([this.sentHead, chunk]);
    this.sentHead = NOTHING;
    let at = this.sending;
    while (at + FRAME_HEAD_BYTES <= bytes.length) {
      this.noteSent(bytes[at + 3]!, bytes[at + 4]!, streamIdAt(bytes, at + 5));
      at += FRAME_HEAD_BYTES + frameLength(bytes, at);
    }
    this.sending = Math.max(0, at - bytes.length);
    if (at < bytes.length) this.sentHead = Buffer.from(bytes.subarray(at));
  }

  private noteSent(type: number, flags: number, id: number): void {
    if (type === FrameType.data) this.budget.earn(CREDIT_OF_DATA);
    if (type === FrameType.data || type === FrameType.headers) {
      if (flags & FrameFlag.endStream) this.ledger.serverEnded(id);
    } else if (type === FrameType.rstStream) {
      if (this.ledger.serverReset(id)) this.budget.spend(1);
    } else if (type === FrameType.ping && !(flags & FrameFlag.ack)) this.pingsUnanswered++;
  }

  /** How many bytes of the frame at `at` check() looks at, or a dropped frame has. */
  private neededBytes(bytes: Buffer, at: number): number {
    const type = bytes[at + 3]!;
    const length = frameLength(bytes, at);
    if (type === FrameType.ping) return FRAME_HEAD_BYTES + Math.min(length, 8);
    if (type === FrameType.priority || type === FrameType.headers) return FRAME_HEAD_BYTES + Math.min(length, 5);
    return FRAME_HEAD_BYTES;
  }

  /** Such an acknowledgement is harmless, but Bun's session ends the connection over it. */
  private isUnaskedPong(bytes: Buffer, at: number): boolean {
    if (bytes[at + 3] !== FrameType.ping || !(bytes[at + 4]! & FrameFlag.ack)) return false;
    if (frameLength(bytes, at) !== 8 || streamIdAt(bytes, at + 5) !== 0) return false;
    if (this.pingsUnanswered === 0) return true;
    this.pingsUnanswered--;
    return false;
  }

  private check(bytes: Buffer, at: number): Violation | undefined {
    const type = bytes[at + 3]!;
    const flags = bytes[at + 4]!;
    const length = frameLength(bytes, at);
    const id = streamIdAt(bytes, at + 5);
    switch (type) {
      case FrameType.data:
        if (length < MIN_DATA_BYTES || flags & FrameFlag.padded) {
          const flood = flags & FrameFlag.endStream ? undefined : this.charge(type);
          if (flood !== undefined) return flood;
        }
        return this.ledger.data(id, (flags & FrameFlag.endStream) !== 0);
      case FrameType.headers:
        this.headerBlockBytes = length;
        return (
          this.charge(type) ??
          this.ledger.headers(id, (flags & FrameFlag.endStream) !== 0) ??
          (flags & FrameFlag.priority
            ? this.checkDependency(bytes, at, id, flags & FrameFlag.padded ? 1 : 0)
            : undefined)
        );
      case FrameType.continuation:
        this.headerBlockBytes += length;
        if (this.headerBlockBytes > this.limits.maxGrpcHeaderBlockBytes) return tooMuch("a header block without end");
        return this.charge(type);
      case FrameType.priority:
        return this.charge(type) ?? this.checkDependency(bytes, at, id, 0);
      case FrameType.rstStream:
        return this.charge(type) ?? this.ledger.clientReset(id);
      case FrameType.windowUpdate:
        return this.charge(type) ?? this.ledger.windowUpdate(id);
      default:
        return this.charge(type);
    }
  }

  private checkDependency(bytes: Buffer, at: number, id: number, padding: number): Violation | undefined {
    // Too short a frame is the session's to refuse.
    if (frameLength(bytes, at) < padding + 5) return undefined;
    if (streamIdAt(bytes, at + FRAME_HEAD_BYTES + padding) !== id) return undefined;
    return { errorCode: constants.NGHTTP2_PROTOCOL_ERROR, reason: "a stream that depends on itself" };
  }

  private charge(type: number): Violation | undefined {
    return this.budget.spend(COST[type] ?? 1) ? undefined : tooMuch("too many frames that do no work");
  }
}

function tooMuch(reason: string): Violation {
  return { errorCode: constants.NGHTTP2_ENHANCE_YOUR_CALM, reason };
}
