/** Tracks how much of a rate each of many holders has used, with one number per holder. */

import type { Rate } from './units.ts';

/** Thirds and sevenths of a span do not add up to it exactly: a wait below this is rounding. */
const ROUNDING_MS = 1e-3;
/** The fraction of the capacity that is kept when room is made. */
const KEPT = 0.99;

/**
 * The generic cell rate algorithm (ITU-T I.371): what a rate allows in its time may be used at once, and comes back
 * evenly. Bounded: holders whose last use is longest ago are forgotten, and start afresh.
 */
export class CellRates {
  readonly #capacity: number;
  /** When the use of each holder will have come back, in milliseconds of the caller's clock. */
  readonly #takenUntilMs = new Map<string, number>();

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#takenUntilMs.size;
  }

  /** Milliseconds until the holder may use `amount`; 0 if it may now. */
  waitMs(holder: string, rate: Rate, amount: number, nowMs: number): number {
    const takenUntilMs = Math.max(this.#takenUntilMs.get(holder) ?? 0, nowMs);
    const waitMs = takenUntilMs + durationMs(rate, amount) - nowMs - rate.perMs;
    return waitMs > ROUNDING_MS ? waitMs : 0;
  }

  /** How much the holder may use now, rounded down and at most `rate.count`: the allowance for rounding could exceed a large rate. */
  left(holder: string, rate: Rate, nowMs: number): number {
    const takenMs = Math.max(0, (this.#takenUntilMs.get(holder) ?? 0) - nowMs);
    const left = ((rate.perMs - takenMs + ROUNDING_MS) / rate.perMs) * rate.count;
    return Math.floor(Math.min(rate.count, Math.max(0, left)));
  }

  /** Records that the holder used `amount`, allowed or not; a negative amount is a refund. */
  take(holder: string, rate: Rate, amount: number, nowMs: number): void {
    const takenUntilMs = Math.max(this.#takenUntilMs.get(holder) ?? 0, nowMs) + durationMs(rate, amount);
    this.#takenUntilMs.delete(holder);
    if (takenUntilMs <= nowMs) return;
    if (this.#takenUntilMs.size >= this.#capacity) this.#makeRoom();
    this.#takenUntilMs.set(holder, takenUntilMs);
  }

  /** Removes many at once, because finding the first key of a Map skips all keys deleted before it. */
  #makeRoom(): void {
    const keptSize = Math.floor(this.#capacity * KEPT);
    for (const holder of this.#takenUntilMs.keys()) {
      if (this.#takenUntilMs.size <= keptSize) return;
      this.#takenUntilMs.delete(holder);
    }
  }
}

function durationMs({ count, perMs }: Rate, amount: number): number {
  return (amount * perMs) / count;
}
