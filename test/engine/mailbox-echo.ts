import { Mailbox, MailboxSender } from "../../src/engine/mailbox.ts";

/** A Worker that sends back what its mailbox brings, until it brings 0. */
declare const self: Worker;

self.onmessage = (event: MessageEvent<{ port: MessagePort; wake: SharedArrayBuffer; wakeBack: SharedArrayBuffer }>) => {
  const { port, wake, wakeBack } = event.data;
  const mailbox = new Mailbox<number>(port, wake);
  const outbox = new MailboxSender<unknown>(port, wakeBack);
  outbox.send(`empty: ${mailbox.wait(0)}, after a while: ${mailbox.wait(5)}`);
  for (let message = mailbox.wait(Number.POSITIVE_INFINITY); message !== 0; ) {
    outbox.send(message);
    message = mailbox.wait(Number.POSITIVE_INFINITY);
  }
  outbox.send("done");
};
