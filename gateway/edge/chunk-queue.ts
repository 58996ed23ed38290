/** Chunks of a connection that have not been read to their end. */

/** Bytes of later requests kept while one is being answered. */
const AHEAD_BYTES = 65536;

export class ChunkQueue {
  readonly #chunks: Buffer[] = [];
  #at = 0;
  #bytes = 0;

  /** Bytes of all chunks, including what was already read of the first. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether the caller must not be read until chunks are consumed. */
  get isFull(): boolean {
    return this.#bytes > AHEAD_BYTES;
  }

  get first(): Buffer | undefined {
    return this.#chunks[0];
  }

  /** How far the first chunk was read. */
  get at(): number {
    return this.#at;
  }

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
  }

  /** Records that `chunk` was read up to `end`. Does nothing if it is not first: the queue was cleared meanwhile. */
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

  /** Copies what is left of a chunk, because another read will overwrite it. */
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
