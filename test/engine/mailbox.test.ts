import { expect, test } from "bun:test";
import { MailboxSender } from "../../src/engine/mailbox.ts";

test("a Worker that sleeps without an event loop is woken by every message, in order", async () => {
  const worker = new Worker(new URL("./mailbox-echo.ts", import.meta.url).href);
  const { port1, port2 } = new MessageChannel();
  const wake = new SharedArrayBuffer(4);
  const sender = new MailboxSender<number>(port1, wake);
  const received: unknown[] = [];
  let onMessage: () => void = () => {};
  worker.onmessage = (event) => {
    received.push(event.data);
    onMessage();
  };
  const receive = async (count: number) => {
    while (received.length < count) await new Promise<void>((resolve) => (onMessage = resolve));
  };
  worker.postMessage({ port: port2, wake }, [port2]);
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
  sender.close();
  worker.terminate();
});
