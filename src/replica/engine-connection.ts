import { LIMITS } from "../config/limits.ts";
import type { Clock } from "../core/clock.ts";
import { workerUrl } from "../core/worker-url.ts";
import type { BackendConfig } from "../engine/backend-config.ts";
import type { EngineOptions } from "../engine/engine-options.ts";
import { MailboxListener, MailboxSender } from "../engine/mailbox.ts";
import type {
  EngineReady,
  FromEngine,
  InitEngine,
  ProfileReply,
  RequestRefused,
  ToEngine,
} from "../engine/messages.ts";

export interface EngineConnectionHandlers {
  onReady(ready: EngineReady): void;
  onStep(message: Int32Array): void;
  onNotice(message: string): void;
  onProfile(reply: ProfileReply): void;
  /** The engine gives one choice up for a reason of its own. */
  onRefused(refusal: RequestRefused): void;
  /** The Worker is gone or cannot go on; called once, and nothing after it. */
  onDeath(death: EngineDeath): void;
}

export interface EngineDeath {
  readonly message: string;
  /** Only a new process helps. */
  readonly sticky: boolean;
}

/** One engine Worker and the way to it. */
export class EngineConnection {
  readonly #worker: Worker;
  readonly #mailbox: MailboxSender<ToEngine>;
  readonly #inbox: MailboxListener<FromEngine>;
  readonly #handlers: EngineConnectionHandlers;
  readonly #closed = Promise.withResolvers<void>();
  #dead = false;

  constructor(
    backend: BackendConfig,
    options: EngineOptions,
    clock: Pick<Clock, "nowMs">,
    handlers: EngineConnectionHandlers,
  ) {
    this.#handlers = handlers;
    const { port1, port2 } = new MessageChannel();
    const wake = new SharedArrayBuffer(4);
    const wakeReplica = new SharedArrayBuffer(4);
    this.#mailbox = new MailboxSender(port1, wake);
    this.#inbox = new MailboxListener(port1, wakeReplica, {
      onMessage: (message) => this.#receive(message),
      clock,
      limits: LIMITS,
    });
    this.#worker = new Worker(workerUrl("engine/worker.ts"), { name: "engine" });
    this.#worker.onerror = (event) => this.#lose(event.message);
    this.#worker.addEventListener("close", () => this.#lose("The engine Worker ended."));
    const init: InitEngine = { type: "init", backend, options, port: port2, wake, wakeReplica };
    this.#worker.postMessage(init, [port2]);
  }

  send(message: ToEngine): void {
    if (!this.#dead) this.#mailbox.send(message);
  }

  /** Lets the step in flight end, frees what the engine holds and stops the Worker. */
  async close(): Promise<void> {
    if (this.#dead) return;
    this.#mailbox.send({ type: "close" });
    await this.#closed.promise;
    this.#stop();
  }

  #receive(message: FromEngine): void {
    if (this.#dead) return;
    try {
      this.#handle(message);
    } catch (error) {
      if (this.#dead) throw error;
      // A message that cannot be taken leaves this side not knowing what the engine does: begin again with a new one.
      this.#die({ message: `A message of the engine could not be taken: ${error}`, sticky: false });
    }
  }

  #handle(message: FromEngine): void {
    if (message instanceof Int32Array) {
      this.#handlers.onStep(message);
      return;
    }
    switch (message.type) {
      case "ready":
        this.#handlers.onReady(message);
        break;
      case "notice":
        this.#handlers.onNotice(message.message);
        break;
      case "profile":
        this.#handlers.onProfile(message);
        break;
      case "refused":
        this.#handlers.onRefused(message);
        break;
      case "fatal":
        this.#die(message);
        break;
      case "closed":
        this.#closed.resolve();
        break;
    }
  }

  /** The Worker is gone: what it said before comes first. */
  #lose(message: string): void {
    this.#inbox.drain();
    this.#die({ message, sticky: false });
  }

  #die(death: EngineDeath): void {
    if (this.#dead) return;
    this.#stop();
    this.#closed.resolve();
    this.#handlers.onDeath(death);
  }

  #stop(): void {
    this.#dead = true;
    this.#inbox.close();
    this.#worker.terminate();
    this.#mailbox.close();
  }
}
