import { expect, test } from "bun:test";
import { LIMITS } from "../../src/config/limits.ts";
import { systemClock } from "../../src/core/clock.ts";
import { MailboxListener, MailboxSender } from "../../src/engine/mailbox.ts";

test("a Worker that sleeps without an event loop and a thread with one are woken by every message, in order", async () => {
  const worker = new Worker(new URL("./mailbox-echo.ts", import.meta.url).href);
  const { port1, port2 } = new MessageChannel();
  const wake = new SharedArrayBuffer(4);
  const sender = new MailboxSender<number>(port1, wake);
  const received: unknown[] = [];
  let onMessage: () => void = () => {};
  const wakeBack = new SharedArrayBuffer(4);
  const listener = new MailboxListener<unknown>(port1, wakeBack, {
    onMessage: (message) => {
      received.push(message);
      onMessage();
    },
    clock: systemClock,
    limits: LIMITS,
  });
  const receive = async (count: number) => {
    while (received.length < count) await new Promise<void>((resolve) => (onMessage = resolve));
  };
  worker.postMessage({ port: port2, wake, wakeBack }, [port2]);
  await receive(1);
  expect(received[0]).toBe("empty: undefined, after a while: undefined");
  // One at a time, so that it sleeps between them, then many at once.
  for (let i = 1; i <= 50; i++) {
    sender.send(i);
    await receive(1 + i);
  }
  for (let i = 51; i <= 2000; i++) sender.send(i);
  await receive(2001);
  sender.send(0);
  await receive(2002);
  expect(received.slice(1)).toEqual([...Array.from({ length: 2000 }, (_, i) => i + 1), "done"]);
  listener.close();
  sender.close();
  worker.terminate();
});

test("a listener takes what lies there at once when asked to, and nothing once it is closed", async () => {
  const { port1, port2 } = new MessageChannel();
  const wake = new SharedArrayBuffer(4);
  const received: number[] = [];
  const listener = new MailboxListener<number>(port1, wake, {
    onMessage: (message) => {
      received.push(message);
      // A message that ends it hides the ones behind it.
      if (message === 4) listener.close();
    },
    clock: systemClock,
    limits: LIMITS,
  });
  const sender = new MailboxSender<number>(port2, wake);
  for (let i = 1; i <= 3; i++) sender.send(i);
  listener.drain();
  expect(received).toEqual([1, 2, 3]);
  sender.send(4);
  sender.send(5);
  while (received.length < 4) await Bun.sleep(1);
  listener.drain();
  await Bun.sleep(5);
  expect(received).toEqual([1, 2, 3, 4]);
  sender.close();
});

test("what has piled up is taken over several turns, in order; who cannot wait takes the rest at once", async () => {
  const { port1, port2 } = new MessageChannel();
  const wake = new SharedArrayBuffer(4);
  let nowMs = 0;
  let turn = 0;
  const turns: number[] = [];
  const received: number[] = [];
  const listener = new MailboxListener<number>(port1, wake, {
    onMessage: (message) => {
      nowMs += 1;
      turns[turn] = (turns[turn] ?? 0) + 1;
      received.push(message);
      if (message === 7) throw new Error("this one cannot be taken");
    },
    report: () => {},
    clock: { nowMs: () => nowMs },
    limits: { turnWorkMs: 4 },
  });
  const sender = new MailboxSender<number>(port2, wake);
  for (let i = 0; i < 40; i++) sender.send(i);
  while (received.length < 20) {
    await new Promise((resolve) => setImmediate(resolve));
    turn++;
  }
  const taken = received.length;
  expect(taken).toBeLessThanOrEqual(24);
  expect(Math.max(...turns.filter((count) => count !== undefined))).toBeLessThanOrEqual(8);
  listener.drain();
  expect(received).toEqual(Array.from({ length: 40 }, (_, i) => i));
  // Nothing is taken twice, and what comes later wakes it.
  sender.send(40);
  while (received.length < 41) await new Promise((resolve) => setImmediate(resolve));
  expect(received.at(-1)).toBe(40);
  listener.close();
  sender.close();
});
