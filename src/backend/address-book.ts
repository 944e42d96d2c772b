import { addressOf } from "./ffi.ts";

/** Addresses of buffers that a native call reads, kept reachable until released. */
export class AddressBook {
  #kept: ArrayBufferView[] = [];

  add(view: ArrayBufferView): number {
    this.#kept.push(view);
    return addressOf(view);
  }

  addText(value: string): number {
    return this.add(Buffer.from(`${value}\0`));
  }

  /** Call after the native call has returned. */
  release(): void {
    this.#kept = [];
  }
}
