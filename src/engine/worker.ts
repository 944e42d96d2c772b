import type { Backend } from "../backend/backend.ts";
import { BackendError } from "../backend/backend.ts";
import { clockOriginMs, systemClock } from "../core/clock.ts";
import { Engine } from "./engine.ts";
import { Mailbox, MailboxSender } from "./mailbox.ts";
import type { FromEngine, InitEngine, ToEngine } from "./messages.ts";
import { openBackend } from "./open-backend.ts";

/** The engine Worker's entry point: opens the backend, then computes until it is told to close. */
declare const self: Worker;

/** A shorter sleep than this before a step is decided costs more, in two switches of thread, than it may bring. */
const MIN_SLEEP_MS = 1;

self.onmessage = (event: MessageEvent<InitEngine>) => {
  self.onmessage = null;
  const { backend: config, options, port, wake, wakeReplica } = event.data;
  const outbox = new MailboxSender<FromEngine>(port, wakeReplica);
  const post = (message: FromEngine) => outbox.send(message);
  let loaded = false;
  try {
    const opened = openBackend(config, options);
    const { backend } = opened;
    for (const message of opened.notices) post({ type: "notice", message });
    const engine = new Engine(backend, options, systemClock, post);
    if (config.kind === "attach") engine.scheduler.blocks.memory.takeAll();
    engine.onRefused = post;
    post({
      type: "ready",
      info: backend.info,
      maxNumSeqs: engine.scheduler.maxNumSeqs,
      clockOriginMs,
      reattach: opened.reattach,
    });
    loaded = true;
    loop(engine, backend, new Mailbox<ToEngine>(port, wake), post);
    opened.close();
    post({ type: "closed" });
  } catch (error) {
    if (error instanceof BackendError) {
      post({ type: "fatal", message: error.message, sticky: error.sticky });
      return;
    }
    // Anything else is a fault of this code: the Worker dies of it, and the replica starts another.
    if (loaded) throw error;
    // What stops a model from loading is for the person who starts it; a dying Worker would report its own source.
    post({ type: "fatal", message: error instanceof Error ? error.message : String(error), sticky: false });
  }
};

/**
 * Takes messages between steps; while there is nothing to compute it tends its memory, then sleeps. While a step computes
 * the next one is decided as late as it may be, so that who arrives meanwhile is in it.
 */
function loop(engine: Engine, backend: Backend, mailbox: Mailbox<ToEngine>, post: (message: FromEngine) => void): void {
  let busy = false;
  let restMs = 0;
  for (;;) {
    const patienceMs = busy ? engine.decideByMs - systemClock.nowMs() : restMs;
    const message = mailbox.wait(patienceMs < MIN_SLEEP_MS ? 0 : patienceMs);
    switch (message?.type) {
      case "add":
        engine.add(message);
        busy = true;
        continue;
      case "abort":
        engine.abort(message.id);
        continue;
      case "profile":
        post({ type: "profile", profile: backend.profile(message.enable) });
        continue;
      case "close":
        return;
      case undefined:
        busy = engine.runOnce();
        if (!busy) restMs = engine.rest();
    }
  }
}
