/** Pseudo-random numbers that are the same in every run. */

/** Returns a number from 0 (inclusive) to 1 (exclusive). */
export type Random = () => number;

/** The same seed gives the same numbers (mulberry32): seed 7 begins with 0.0117, 0.0620. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
