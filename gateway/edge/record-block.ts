/** A block of memory in cells of one TLS record each; records in adjacent cells leave in one piece. */

/** The largest TLS record (RFC 8446 §5.1); Node delivers no more at once. */
export const RECORD_BYTES = 16_384;
/** libuv reads a connection up to 32 times in a turn; the others are for the streams that wait. */
const CELLS = 40;

/** Free unless it is lent to a connection that reads into it, or bytes in it are on their way out. */
export class Cell {
  readonly block: RecordBlock;
  /** Its place in the block. */
  readonly index: number;
  readonly bytes: Buffer;
  #isLent = false;
  #users = 0;

  constructor(block: RecordBlock, index: number) {
    this.block = block;
    this.index = index;
    this.bytes = block.bytes.subarray(index * RECORD_BYTES, (index + 1) * RECORD_BYTES);
  }

  get isFree(): boolean {
    return !this.#isLent && this.#users === 0;
  }

  /** Whether bytes in it are on their way out. */
  get isHeld(): boolean {
    return this.#users > 0;
  }

  lend(): void {
    if (this.isFree) this.block.onUsed();
    this.#isLent = true;
  }

  giveBack(): void {
    if (!this.#isLent) return;
    this.#isLent = false;
    if (this.isFree) this.block.onFree();
  }

  hold(): void {
    if (this.isFree) this.block.onUsed();
    if (this.#users === 0) this.block.heldCells += 1;
    this.#users += 1;
  }

  release(): void {
    this.#users -= 1;
    if (this.#users === 0) this.block.heldCells -= 1;
    if (this.isFree) this.block.onFree();
  }
}

export class RecordBlock {
  readonly bytes = Buffer.allocUnsafeSlow(CELLS * RECORD_BYTES);
  readonly cells: readonly [Cell, ...Cell[]];
  /** Cells with bytes on their way out; for cells to count. */
  heldCells = 0;
  readonly #onUnused: (block: RecordBlock) => void;
  #used = 0;

  /** `onUnused` is called whenever its last used cell becomes free. */
  constructor(onUnused: (block: RecordBlock) => void) {
    this.#onUnused = onUnused;
    const others = Array.from({ length: CELLS - 1 }, (_, index) => new Cell(this, index + 1));
    this.cells = [new Cell(this, 0), ...others];
  }

  get heldBytes(): number {
    return this.heldCells * RECORD_BYTES;
  }

  firstFree(): Cell | undefined {
    return this.#used === CELLS ? undefined : this.cells.find(({ isFree }) => isFree);
  }

  /** The next cell, if it is free. */
  freeBehind({ index }: Cell): Cell | undefined {
    const next = this.cells[index + 1];
    return next?.isFree ? next : undefined;
  }

  /** Keeps every cell that these bytes touch until the returned function is called, once. */
  hold({ byteOffset, length }: Buffer): () => void {
    const first = Math.floor(byteOffset / RECORD_BYTES);
    const end = Math.ceil((byteOffset + length) / RECORD_BYTES);
    for (let index = first; index < end; index++) this.cells[index]?.hold();
    return () => {
      for (let index = first; index < end; index++) this.cells[index]?.release();
    };
  }

  /** To be called by a cell that was free. */
  onUsed(): void {
    this.#used += 1;
  }

  /** To be called by a cell that has become free. */
  onFree(): void {
    this.#used -= 1;
    if (this.#used === 0) this.#onUnused(this);
  }
}
