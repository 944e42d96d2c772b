/** Small pieces are joined up to this size: a write to a socket costs microseconds whatever its length. */
const BLOCK_BYTES = 64 * 1024;

/** Bytes put together from many pieces, in blocks that are worth a write each. */
export class Blocks {
  private readonly blocks: Uint8Array<ArrayBuffer>[] = [];
  private pieces: Uint8Array[] = [];
  private pieceBytes = 0;
  private blockBytes = 0;

  get length(): number {
    return this.blockBytes + this.pieceBytes;
  }

  add(bytes: Uint8Array): void {
    this.pieces.push(bytes);
    this.pieceBytes += bytes.length;
    if (this.pieceBytes >= BLOCK_BYTES) this.close();
  }

  append(other: Blocks): void {
    this.close();
    for (const block of other.all()) this.blocks.push(block);
    this.blockBytes += other.length;
  }

  all(): readonly Uint8Array<ArrayBuffer>[] {
    this.close();
    return this.blocks;
  }

  private close(): void {
    if (this.pieces.length === 0) return;
    this.blocks.push(Buffer.concat(this.pieces));
    this.blockBytes += this.pieceBytes;
    this.pieces = [];
    this.pieceBytes = 0;
  }
}
