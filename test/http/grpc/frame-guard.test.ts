import { describe, expect, test } from "bun:test";
import { constants } from "node:http2";
import { LIMITS, type Limits } from "../../../src/config/limits.ts";
import { FrameGuard } from "../../../src/http/grpc/frame-guard.ts";
import { goawayFrame } from "../../../src/http/grpc/http2-frames.ts";
import type { Violation } from "../../../src/http/grpc/stream-ledger.ts";
import { frame } from "../raw-http2.ts";

const DATA = 0;
const HEADERS = 1;
const PRIORITY = 2;
const RST = 3;
const PING = 6;
const WINDOW_UPDATE = 8;
const CONTINUATION = 9;
const END_STREAM = 1;
const END_HEADERS = 4;
const open = (id: number, flags = END_HEADERS) => frame(HEADERS, flags, id, [0x82]);
const body = (id: number, flags = 0) => frame(DATA, flags, id, Buffer.alloc(100));
const reset = (id: number) => frame(RST, 0, id, [0, 0, 0, 8]);
const window = (id: number) => frame(WINDOW_UPDATE, 0, id, [0, 0, 0, 1]);
const ping = (flags: number) => frame(PING, flags, 0, Buffer.alloc(8));
const dependsOn = (id: number) => [0, 0, 0, id, 16];

/** A guard with a clock of its own, and what it let through. */
function guarded(limits: Partial<Limits> = {}) {
  const clock = { ms: 0, nowMs: () => clock.ms, epochS: () => 0 };
  const guard = new FrameGuard({ ...LIMITS, ...limits }, clock);
  const passed: Buffer[] = [];
  const receive = (bytes: Buffer): Violation | undefined => guard.received(bytes, (part) => passed.push(part));
  return { guard, clock, receive, passed: () => Buffer.concat(passed) };
}

describe("the states of streams", () => {
  const { NGHTTP2_PROTOCOL_ERROR: PROTOCOL_ERROR, NGHTTP2_STREAM_CLOSED: STREAM_CLOSED } = constants;
  const violations: Array<[string, Buffer[], number]> = [
    ["DATA on an idle stream", [body(1)], PROTOCOL_ERROR],
    ["DATA on a stream above the last", [open(1), body(3)], PROTOCOL_ERROR],
    ["DATA on a stream of the server's", [open(1), body(2)], PROTOCOL_ERROR],
    ["WINDOW_UPDATE on an idle stream", [window(1)], PROTOCOL_ERROR],
    ["RST_STREAM on an idle stream", [reset(1)], PROTOCOL_ERROR],
    ["DATA after END_STREAM of the head", [open(1, END_HEADERS | END_STREAM), body(1)], STREAM_CLOSED],
    ["DATA after END_STREAM of the body", [open(1), body(1, END_STREAM), body(1)], STREAM_CLOSED],
    ["HEADERS after END_STREAM", [open(1, END_HEADERS | END_STREAM), open(1, 5)], STREAM_CLOSED],
    ["DATA after the client's reset", [open(1), reset(1), body(1)], STREAM_CLOSED],
    ["HEADERS after the client's reset", [open(1), reset(1), open(1)], STREAM_CLOSED],
    ["an id that was passed over", [open(5), open(3)], PROTOCOL_ERROR],
    ["HEADERS that depend on themselves", [frame(HEADERS, END_HEADERS | 0x20, 1, dependsOn(1))], PROTOCOL_ERROR],
    ["the same with padding", [frame(HEADERS, END_HEADERS | 0x28, 1, [0, ...dependsOn(1)])], PROTOCOL_ERROR],
    ["PRIORITY on itself", [frame(PRIORITY, 0, 7, dependsOn(7))], PROTOCOL_ERROR],
  ];
  for (const [name, frames, errorCode] of violations) {
    test(`${name} ends the connection; the frames before it are let through`, () => {
      const whole = guarded();
      expect(whole.receive(Buffer.concat(frames))?.errorCode).toBe(errorCode);
      expect(whole.passed()).toEqual(Buffer.concat(frames.slice(0, -1)));
      // And however the bytes are cut.
      const cut = guarded();
      const found = [...Buffer.concat(frames)].map((byte) => cut.receive(Buffer.from([byte])));
      expect(found.find((violation) => violation !== undefined)?.errorCode).toBe(errorCode);
    });
  }

  test("what clients may send passes unchanged, however it is cut", () => {
    const frames = [
      open(1),
      body(1),
      window(1),
      window(0),
      frame(PRIORITY, 0, 9, dependsOn(1)),
      frame(HEADERS, END_STREAM | END_HEADERS, 1, [0x82]), // trailers
      window(1), // may still be on its way
      reset(1),
      frame(HEADERS, 0x28, 5, [0, ...dependsOn(1)]),
      frame(CONTINUATION, END_HEADERS, 5, [0x82]),
      frame(0xaa, 0xff, 3, [1, 2, 3]), // of a type that nobody knows
      body(5, END_STREAM),
      ping(0),
    ];
    const bytes = Buffer.concat(frames);
    for (const size of [1, 2, 3, 7, 10, 13, bytes.length]) {
      const { receive, passed } = guarded();
      for (let at = 0; at < bytes.length; at += size) expect(receive(bytes.subarray(at, at + size))).toBeUndefined();
      expect(passed()).toEqual(bytes);
    }
  });

  test("after a reset by the server, what is still on its way passes", () => {
    for (const size of [1, 4, 100]) {
      const { guard, receive } = guarded();
      receive(Buffer.concat([open(1), open(3)]));
      const sent = Buffer.concat([frame(HEADERS, END_HEADERS, 1, [0x88]), body(1, END_STREAM), reset(1), reset(3)]);
      for (let at = 0; at < sent.length; at += size) guard.sent(sent.subarray(at, at + size));
      expect(receive(Buffer.concat([body(1), body(3), body(1, END_STREAM), reset(1), window(3)]))).toBeUndefined();
    }
  });

  test("of very many resets by the server the oldest are forgotten, not held against the client", () => {
    const { guard, receive } = guarded();
    const ids = Array.from({ length: 3000 }, (_, i) => 2 * i + 1);
    for (const id of ids) {
      receive(open(id));
      guard.sent(reset(id));
    }
    for (const id of ids) expect(receive(body(id))).toBeUndefined();
  });

  test("an end by both sides closes a stream", () => {
    const { guard, receive } = guarded();
    receive(open(1, END_HEADERS | END_STREAM));
    guard.sent(frame(HEADERS, END_HEADERS | END_STREAM, 1, [0x88]));
    expect(receive(body(1))?.errorCode).toBe(STREAM_CLOSED);
  });
});

describe("frames without work", () => {
  const calm = constants.NGHTTP2_ENHANCE_YOUR_CALM;

  test("are allowed at a rate, which time restores", () => {
    const { clock, receive } = guarded({ grpcFrameBurst: 10, grpcFramesPerS: 5 });
    for (let i = 0; i < 10; i++) expect(receive(ping(0))).toBeUndefined();
    clock.ms += 2000;
    for (let i = 0; i < 10; i++) expect(receive(ping(0))).toBeUndefined();
    expect(receive(ping(0))?.errorCode).toBe(calm);
  });

  test("a reader's WINDOW_UPDATE and PING frames are earned by the messages it reads", () => {
    const { guard, receive } = guarded({ grpcFrameBurst: 4, grpcFramesPerS: 0 });
    receive(open(1));
    for (let i = 0; i < 10_000; i++) {
      guard.sent(frame(DATA, 0, 1, Buffer.alloc(20)));
      expect(receive(Buffer.concat([window(1), window(0), ping(0)]))).toBeUndefined();
    }
    // What is earned is bounded, too.
    for (let i = 0; i < LIMITS.maxGrpcFrameCredit; i++) guard.sent(frame(DATA, 0, 1, Buffer.alloc(20)));
    let count = 0;
    while (receive(ping(0)) === undefined) count++;
    expect(count).toBeLessThan(LIMITS.maxGrpcFrameCredit + 10);
  });

  test("replies earn nothing", () => {
    const { guard, receive } = guarded({ grpcFrameBurst: 10, grpcFramesPerS: 0 });
    let count = 0;
    while (receive(ping(0)) === undefined) {
      guard.sent(ping(1));
      guard.sent(frame(4, 1, 0));
      count++;
    }
    expect(count).toBe(10);
  });

  test("a header block is bounded in bytes", () => {
    const { receive } = guarded();
    receive(frame(HEADERS, 0, 1, [0x82]));
    const part = frame(CONTINUATION, 0, 1, Buffer.alloc(16_384));
    const found = [1, 2, 3, 4].map(() => receive(part)?.errorCode);
    expect(found).toEqual([undefined, undefined, undefined, calm]);
  });

  test("an acknowledgement that nobody asked for is dropped, one that was asked for passes", () => {
    for (const size of [1, 5, 200]) {
      const { guard, receive, passed } = guarded();
      const bytes = Buffer.concat([open(1), ping(1), ping(1), body(1)]);
      for (let at = 0; at < bytes.length; at += size) expect(receive(bytes.subarray(at, at + size))).toBeUndefined();
      expect(passed()).toEqual(Buffer.concat([open(1), body(1)]));
      guard.sent(ping(0));
      receive(Buffer.concat([ping(1), ping(1)]));
      expect(passed()).toEqual(Buffer.concat([open(1), body(1), ping(1)]));
    }
  });
});

test("a GOAWAY names the last stream, the error and the reason", () => {
  const expected = frame(7, 0, 0, [0, 0, 1, 5, 0, 0, 0, 11, ...Buffer.from("why")]);
  expect(goawayFrame(0x105, 11, "why")).toEqual(expected);
});
