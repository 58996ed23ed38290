/** Chunks of a connection that are not read to their end yet. */

/** Bytes of later requests kept while one is being answered. */
const AHEAD_BYTES = 65536;

export class ChunkQueue {
  readonly #chunks: Buffer[] = [];
  #at = 0;
  #bytes = 0;

  /** All that is in it, give or take what was read of the first chunk. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The caller is not read before some of it was. */
  get isFull(): boolean {
    return this.#bytes > AHEAD_BYTES;
  }

  get first(): Buffer | undefined {
    return this.#chunks[0];
  }

  /** How far the first one was read. */
  get at(): number {
    return this.#at;
  }

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
  }

  /** The first chunk was read up to `end`. Nothing where another one is first: it was cleared meanwhile. */
  consume(chunk: Buffer, end: number): void {
    if (this.#chunks[0] !== chunk) return;
    if (end < chunk.length) {
      this.#at = end;
      return;
    }
    this.#at = 0;
    this.#chunks.shift();
    this.#bytes -= chunk.length;
  }

  /** What is left of a chunk gets memory of its own: another read will land where it lies. */
  keepRest(chunk: Buffer): void {
    const index = this.#chunks.lastIndexOf(chunk);
    if (index < 0) return;
    const from = index === 0 ? this.#at : 0;
    if (index === 0) this.#at = 0;
    this.#chunks[index] = Buffer.from(chunk.subarray(from));
    this.#bytes -= from;
  }

  clear(): void {
    this.#chunks.length = 0;
    this.#at = 0;
    this.#bytes = 0;
  }
}
