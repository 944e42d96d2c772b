import { ServeError, toServeError } from "../core/errors.ts";
import type { FrameSink } from "./connect/frame-sink.ts";
import { readerReady } from "./reader-ready.ts";

type Controller = Parameters<Bun.DirectUnderlyingSource<Uint8Array>["pull"]>[0];

/**
 * A fetch response's body as a direct stream: one write and flush a chunk, waiting only when the socket is full. Frames
 * may be written beside the chunks of `of()` once that is being read.
 */
export class ResponseBody implements FrameSink {
  private readonly gone = new AbortController();
  private readonly over = Promise.withResolvers<ServeError | undefined>();
  private controller: Controller | undefined;

  /** `stalledReaderMs`: a reader that takes nothing for this long is dropped. `closing` is called before the last byte. */
  constructor(
    private readonly stalledReaderMs: number,
    private readonly closing: () => void = () => {},
  ) {}

  /** Aborts when the reader has gone away or stalled. */
  get signal(): AbortSignal {
    return this.gone.signal;
  }

  /** Resolves when the last chunk has been handed over, or the reader is gone: then with an error. */
  get ended(): Promise<ServeError | undefined> {
    return this.over.promise;
  }

  /** The connection is gone, whether or not the body was being read. */
  drop(reason?: unknown): void {
    this.gone.abort(reason);
    this.over.resolve(this.failure());
  }

  private failure(): ServeError | undefined {
    const { aborted, reason } = this.gone.signal;
    if (!aborted) return undefined;
    return reason instanceof ServeError ? reason : new ServeError("cancelled", "The client went away.");
  }

  /** `expand`: what is written for a chunk, where that is another. */
  of(
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    expand: (chunk: Uint8Array) => readonly Uint8Array[] = (chunk) => [chunk],
  ): ReadableStream<Uint8Array> {
    const source: Bun.DirectUnderlyingSource<Uint8Array> = {
      type: "direct",
      pull: async (controller) => {
        this.controller = controller;
        try {
          for await (const chunk of chunks) {
            for (const bytes of expand(chunk)) await this.write(bytes as Uint8Array<ArrayBuffer>);
          }
          if (!this.gone.signal.aborted) {
            this.closing();
            controller.close();
          }
        } catch (error) {
          // The connection's, which is known already; or a fault of whoever writes the body, which then cannot be whole.
          if (!this.gone.signal.aborted) {
            this.gone.abort(toServeError(error));
            // In the turn in which the body began, Bun would print the error; it is logged anyway.
            await new Promise((resolve) => setImmediate(resolve));
            controller.close(error as Error);
          }
        } finally {
          this.over.resolve(this.failure());
        }
      },
      cancel: (reason?: unknown) => this.drop(reason),
    };
    // The DOM types, which win over those of Bun, do not know direct sources.
    return new ReadableStream(source as unknown as UnderlyingDefaultSource<Uint8Array>);
  }

  write(bytes: Uint8Array<ArrayBuffer>): Promise<void> | undefined {
    const { controller } = this;
    this.gone.signal.throwIfAborted();
    if (controller === undefined) throw new Error("the body is not being read yet");
    const written: unknown = controller.write(bytes);
    const flushed: unknown = controller.flush();
    if (!(written instanceof Promise) && !(flushed instanceof Promise)) return undefined;
    return readerReady(Promise.all([written, flushed]), this.stalledReaderMs, (error) => {
      this.gone.abort(error);
      // With an error the connection is reset; a plain close would wait for the reader.
      controller.close(error);
    });
  }
}
