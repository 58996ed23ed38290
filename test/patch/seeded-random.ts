/** Random numbers that are the same in every run (mulberry32). */

export class SeededRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 up to 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from 0 up to `end`, `end` left out. */
  below(end: number): number {
    return Math.floor(this.next() * end);
  }

  bytes(length: number): Buffer {
    return Buffer.from(Uint8Array.from({ length }, () => this.below(256)));
  }

  /** Strictly rising numbers below `end`, each taken with the given probability, in runs of about `runLength`. */
  rising(end: number, share: number, runLength = 1): Float64Array {
    const taken: number[] = [];
    for (let index = 0; index < end; index++) {
      if (this.next() >= share / runLength) continue;
      const length = runLength === 1 ? 1 : 1 + this.below(2 * runLength);
      for (const stop = Math.min(end, index + length); index < stop; index++) taken.push(index);
    }
    return Float64Array.from(taken.length > 0 ? taken : [this.below(end)]);
  }
}
