import type { BackendInfo, BackendProfile } from "../backend/backend.ts";
import type { BackendConfig } from "./backend-config.ts";
import type { EngineOptions } from "./engine-options.ts";
import type { EngineSampling } from "./sequence.ts";

/**
 * Messages between the replica (main thread) and the engine Worker. The Worker computes in a synchronous loop, so it
 * takes messages from a MessagePort that it polls, and sleeps on a shared word when idle: whoever posts also wakes it.
 * Back come one packed Int32Array a step (step-message.ts) and these objects for what is rare.
 */
export type ToEngine = AddRequest | AbortSequence | ProfileRequest | { readonly type: "close" };

/** Starts the Worker; posted to it once, as an ordinary message, with the port. */
export interface InitEngine {
  readonly type: "init";
  readonly backend: BackendConfig;
  readonly options: EngineOptions;
  /** Polled for ToEngine; takes FromEngine. */
  readonly port: MessagePort;
  /** One Int32 each that grows with each message to the engine and from it, see mailbox.ts. */
  readonly wake: SharedArrayBuffer;
  readonly wakeReplica: SharedArrayBuffer;
}

export interface AddRequest {
  readonly type: "add";
  readonly prompt: Int32Array;
  readonly sampling: EngineSampling;
  readonly priority: number;
  readonly tenant: string;
  /** Milliseconds from now; undefined: no deadline. (Workers do not share a monotonic clock's origin.) */
  readonly deadlineInMs: number | undefined;
  readonly choices: readonly AddChoice[];
}

export interface AddChoice {
  /** Unique among all live sequences. */
  readonly id: number;
  readonly index: number;
  /** Tokens the choice has already, where it was begun elsewhere or before a fault. */
  readonly outputTokens: Int32Array;
}

export interface AbortSequence {
  readonly type: "abort";
  readonly id: number;
}

/** Turns the backend's stage timing on or off; answered by ProfileReply. */
export interface ProfileRequest {
  readonly type: "profile";
  readonly enable: boolean;
}

export type FromEngine =
  | Int32Array
  | EngineReady
  | EngineNotice
  | EngineFatal
  | ProfileReply
  | RequestRefused
  | EngineClosed;

export interface EngineReady {
  readonly type: "ready";
  /** maxModelLen is the longest context: the checkpoint's, or what the KV cache holds. */
  readonly info: BackendInfo;
  readonly maxNumSeqs: number;
  /** Of the engine's thread: see core/clock.ts. */
  readonly clockOriginMs: number;
  /** Starts another Worker on the same native state after this one has died. */
  readonly reattach: BackendConfig;
}

/** Something a person should know, such as a clipped context. */
export interface EngineNotice {
  readonly type: "notice";
  readonly message: string;
}

/** Why one choice cannot go on; posted before the FAILED record that ends it. */
export interface RequestRefused {
  readonly type: "refused";
  /** Of the choice. */
  readonly id: number;
  readonly reason: RefusalReason;
  /** The parameter at fault, as the backend calls it; "" where none is. */
  readonly field: string;
  readonly message: string;
}

/** invalid: a parameter that the backend does not take. memory: no room for its state now. internal: a fault of the engine. */
export type RefusalReason = "invalid" | "memory" | "internal";

export interface EngineFatal {
  readonly type: "fatal";
  readonly message: string;
  /** Only a new process helps. */
  readonly sticky: boolean;
}

export interface ProfileReply {
  readonly type: "profile";
  readonly profile: BackendProfile;
}

export interface EngineClosed {
  readonly type: "closed";
}
