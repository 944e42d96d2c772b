import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import type { TurnBudget } from "../turn-budget.ts";
import type { FrameGuard } from "./frame-guard.ts";
import { CLIENT_PREFACE, goawayFrame } from "./http2-frames.ts";

/** Frames are looked at in slices: one of 16 KiB can open a thousand streams, which takes some milliseconds. */
const SLICE_BYTES = 16 * 1024;
/** What one turn's frames may come to before they are written: above this a system call costs nothing beside the copy. */
const MAX_WAITING_BYTES = 64 * 1024;

/** A client that is still writing sees a GOAWAY only if that much of what it writes is read; then it is on its own. */
const MAX_DISCARDED_BYTES = 4 * 1024 * 1024;

/**
 * The socket that a session reads and writes: the real one behind a FrameGuard. What the guard objects to never reaches
 * the session; the client gets a GOAWAY that names the error.
 */
export class GuardedSocket extends Duplex {
  private refused = false;
  /** Received, and waiting for a turn of the event loop. */
  private rest: Buffer | undefined;
  private ended = false;
  /** The session takes no more for now. */
  private full = false;
  private waiting: Buffer[] = [];
  private waitingBytes = 0;
  private discardedBytes = 0;
  private readonly pass = (bytes: Buffer): void => {
    this.full = !this.push(bytes);
    if (this.full) this.socket.pause();
  };

  private readonly flush = (): void => {
    const { waiting, socket } = this;
    if (waiting.length === 0) return;
    this.waiting = [];
    this.waitingBytes = 0;
    if (!socket.destroyed && !socket.writableEnded) {
      socket.write(waiting.length === 1 ? waiting[0]! : Buffer.concat(waiting));
    }
  };

  /** `early`: what came behind the client's preface. */
  constructor(
    private readonly socket: Socket,
    private readonly guard: FrameGuard,
    private readonly turns: TurnBudget,
    early: Buffer,
  ) {
    super();
    this.pass(CLIENT_PREFACE);
    this.receive(early);
    socket.on("data", (chunk: Buffer) => this.receive(chunk));
    socket.on("drain", () => this.emit("drain"));
    socket.on("end", () => {
      this.ended = true;
      if (this.rest === undefined) this.push(null);
    });
    socket.on("error", (error) => this.destroy(error));
    socket.on("close", () => this.destroy());
  }

  /** The client's IP address. */
  get remoteAddress(): string | undefined {
    return this.socket.remoteAddress;
  }

  override _read(): void {
    this.full = false;
    if (!this.refused && this.rest === undefined) this.socket.resume();
  }

  /** Collects what is written within a turn: a session writes each frame by itself, and a system call costs 4 us. */
  override write(chunk: Buffer): boolean {
    if (this.refused) return true;
    this.guard.sent(chunk);
    this.waiting.push(chunk);
    this.waitingBytes += chunk.length;
    if (this.waitingBytes > MAX_WAITING_BYTES) this.flush();
    else if (this.waiting.length === 1) setImmediate(this.flush);
    return !this.socket.writableNeedDrain;
  }

  override _final(done: () => void): void {
    this.flush();
    this.socket.end();
    done();
  }

  private receive(chunk: Buffer): void {
    if (this.refused) {
      this.discardedBytes += chunk.length;
      if (this.discardedBytes > MAX_DISCARDED_BYTES) this.socket.pause();
    }
    if (this.rest !== undefined) this.rest = Buffer.concat([this.rest, chunk]);
    else this.look(chunk);
  }

  /** Hands a chunk's frames to the session, in slices: when this turn's time is spent, the rest waits for one of its own. */
  private look(chunk: Buffer): void {
    for (let at = 0; at < chunk.length && !this.socket.writableEnded; at += SLICE_BYTES) {
      if (this.turns.spent()) {
        this.rest = chunk.subarray(at);
        this.socket.pause();
        void this.turns.next().then(() => this.goOn());
        return;
      }
      const violation = this.guard.received(chunk.subarray(at, at + SLICE_BYTES), this.pass);
      // What came before the violation may have made the session end the connection itself.
      if (violation !== undefined && !this.socket.writableEnded) this.refuse(violation.errorCode, violation.reason);
    }
  }

  private goOn(): void {
    const rest = this.rest!;
    this.rest = undefined;
    if (this.destroyed) return;
    this.look(rest);
    if (this.rest !== undefined) return;
    if (this.ended) this.push(null);
    else if (!this.full) this.socket.resume();
  }

  /** The socket outlives this by the time its last bytes take: ConnectionGuard sees to its end. */
  private refuse(errorCode: number, reason: string): void {
    this.flush();
    this.refused = true;
    this.socket.resume();
    this.socket.end(goawayFrame(this.guard.lastStreamId, errorCode, reason));
    this.destroy();
  }
}
