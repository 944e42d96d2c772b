/** Bytes in the order they came, whatever the pieces. Every byte is copied at most once, however small the pieces are. */
export class ByteQueue {
  private parts: Uint8Array[] = [];
  length = 0;

  push(bytes: Uint8Array): void {
    this.parts.push(bytes);
    this.length += bytes.length;
  }

  /** The first `count` bytes; at least so many must be there. */
  take(count: number): Uint8Array {
    if (this.parts.length > 1) this.parts = [Buffer.concat(this.parts)];
    const all = this.parts[0] ?? new Uint8Array(0);
    this.length -= count;
    this.parts = this.length === 0 ? [] : [all.subarray(count)];
    return all.subarray(0, count);
  }
}
