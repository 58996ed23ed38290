/** How much of a rate many holders have used, a number each. */

import type { Rate } from './units.ts';

/** Thirds and sevenths of a span do not add up to it: what is left of them is rounding, not time to wait for. */
const ROUNDING_MS = 1e-3;
/** The part of its capacity that is still remembered after room was made. */
const KEPT = 0.99;

/**
 * The generic cell rate algorithm (ITU-T I.371): what a rate allows in its time may be used at once, and comes back
 * evenly. Bounded: holders seen longest ago make room, and begin anew.
 */
export class CellRates {
  readonly #capacity: number;
  /** Until when what each has used lasts, milliseconds of the caller's clock. */
  readonly #takenUntilMs = new Map<string, number>();

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#takenUntilMs.size;
  }

  /** Milliseconds until the holder may use so much; 0 when it may now. */
  waitMs(holder: string, rate: Rate, amount: number, nowMs: number): number {
    const takenUntilMs = Math.max(this.#takenUntilMs.get(holder) ?? 0, nowMs);
    const waitMs = takenUntilMs + durationMs(rate, amount) - nowMs - rate.perMs;
    return waitMs > ROUNDING_MS ? waitMs : 0;
  }

  /** How much the holder may use now, whole; of a large rate the rounding alone would be more than all. */
  left(holder: string, rate: Rate, nowMs: number): number {
    const takenMs = Math.max(0, (this.#takenUntilMs.get(holder) ?? 0) - nowMs);
    const left = ((rate.perMs - takenMs + ROUNDING_MS) / rate.perMs) * rate.count;
    return Math.floor(Math.min(rate.count, Math.max(0, left)));
  }

  /** The holder has used so much, whether it might or not; less than nothing gives back. */
  take(holder: string, rate: Rate, amount: number, nowMs: number): void {
    const takenUntilMs = Math.max(this.#takenUntilMs.get(holder) ?? 0, nowMs) + durationMs(rate, amount);
    this.#takenUntilMs.delete(holder);
    if (takenUntilMs <= nowMs) return;
    if (this.#takenUntilMs.size >= this.#capacity) this.#makeRoom();
    this.#takenUntilMs.set(holder, takenUntilMs);
  }

  /** Many leave at once: the first in a Map is found behind all that was deleted before it. */
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
