import { Mailbox } from "../../src/engine/mailbox.ts";

/** A Worker that sends back what its mailbox brings, until it brings 0. */
declare const self: Worker;

self.onmessage = (event: MessageEvent<{ port: MessagePort; wake: SharedArrayBuffer }>) => {
  const mailbox = new Mailbox<number>(event.data.port, event.data.wake);
  self.postMessage(`empty: ${mailbox.wait(0)}, after a while: ${mailbox.wait(5)}`);
  for (let message = mailbox.wait(Number.POSITIVE_INFINITY); message !== 0; ) {
    self.postMessage(message);
    message = mailbox.wait(Number.POSITIVE_INFINITY);
  }
  self.postMessage("done");
};
