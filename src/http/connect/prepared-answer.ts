import { createContextKey } from "@connectrpc/connect";
import type { Blocks } from "./blocks.ts";
import { framePrefix } from "./frames.ts";

/**
 * An answer that its implementation has encoded already, in slices: Connect would do it in one go. Connect is given an empty
 * message in its place, and the transport sends this one where that would go.
 */
export class PreparedAnswer {
  private blocks: Blocks | undefined;

  /** `sent` resolves when the transport is done with the call's answer: with the error that cut it short, if one did. */
  constructor(private readonly sent: Promise<unknown>) {}

  /** Set while there is an answer to send: resolves as `sent`. */
  get sending(): Promise<unknown> | undefined {
    return this.blocks === undefined ? undefined : this.sent;
  }

  /** In the place of the next message. */
  set(blocks: Blocks): void {
    this.blocks = blocks;
  }

  /** The blocks, for a body that is one message; undefined where Connect's is to be sent. */
  take(): readonly Uint8Array<ArrayBuffer>[] | undefined {
    const { blocks } = this;
    this.blocks = undefined;
    return blocks?.all();
  }

  /** What is to be sent for a frame of Connect's. */
  readonly framesFor = (frame: Uint8Array): readonly Uint8Array[] => {
    if (this.blocks === undefined) return [frame];
    const { length } = this.blocks;
    return [framePrefix(length), ...this.take()!];
  };
}

export const PREPARED_ANSWER = createContextKey<PreparedAnswer | undefined>(undefined, {
  description: "prepared answer",
});
