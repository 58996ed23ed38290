/** Time limits of connections and streams: one sweep for all of them instead of one timer for each. */

import { Slots, type Slotted } from './slots.ts';

/** Something that ends when its time is up. */
export abstract class Expiring implements Slotted {
  /** Kept by `Deadlines` alone, like `dueMs`. */
  slot = -1;
  dueMs = 0;

  /** Called once, by the sweep, after the deadline was removed. */
  abstract expire(): void;
}

/**
 * Deadlines on a coarse clock. `arm` costs three assignments; the owner calls `sweep` with a monotonic clock every
 * so often, and a deadline fires in the first sweep at or after it. Precision is the sweep's interval.
 *
 * A sweep in which nothing is due looks at nothing and makes nothing: ten thousand idle connections cost no garbage, and
 * V8 gives the memory of a rush back once little garbage is made.
 *
 * The clock goes by `longestStepMs` at most from one sweep to the next. A process that stood still, for whatever reason,
 * has not looked at what came meanwhile: nobody it waits for was late.
 */
export class Deadlines {
  readonly #armed = new Slots<Expiring>();
  readonly #longestStepMs: number;
  #sweptMs: number;
  #nowMs: number;
  /** Nothing is due before; nothing need be due then, as what was to be may have been given more time. */
  #earliestMs = Number.POSITIVE_INFINITY;

  constructor(nowMs: number, longestStepMs = Number.POSITIVE_INFINITY) {
    this.#sweptMs = nowMs;
    this.#nowMs = nowMs;
    this.#longestStepMs = longestStepMs;
  }

  /** Monotonic milliseconds as of the last sweep, without those in which the process stood still. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** The same as of a moment since then, on the clock of the sweeps. */
  timeAt(atMs: number): number {
    return this.#nowMs + this.#stepTo(atMs);
  }

  get size(): number {
    return this.#armed.size;
  }

  /** Sets or moves the one deadline of `item` to `afterMs` from the last sweep. */
  arm(item: Expiring, afterMs: number): void {
    item.dueMs = this.#nowMs + afterMs;
    this.#earliestMs = Math.min(this.#earliestMs, item.dueMs);
    this.#armed.add(item);
  }

  disarm(item: Expiring): void {
    this.#armed.remove(item);
  }

  /** Moves the clock and expires what is due. An item armed during the sweep waits for a later one. */
  sweep(atMs: number): void {
    this.#nowMs += this.#stepTo(atMs);
    this.#sweptMs = atMs;
    const nowMs = this.#nowMs;
    if (nowMs < this.#earliestMs) return;
    for (const item of this.#lookForDue()) {
      // What expired before it may have disarmed it, or given it more time.
      if (item.slot < 0 || item.dueMs > nowMs) continue;
      this.#armed.remove(item);
      item.expire();
    }
  }

  #stepTo(atMs: number): number {
    return Math.min(atMs - this.#sweptMs, this.#longestStepMs);
  }

  /** Looks at everything that is armed, and so learns how long nothing has to be looked at. */
  #lookForDue(): readonly Expiring[] {
    const nowMs = this.#nowMs;
    let earliestMs = Number.POSITIVE_INFINITY;
    const due = this.#armed.filter(({ dueMs }) => {
      const isDue = dueMs <= nowMs;
      if (!isDue) earliestMs = Math.min(earliestMs, dueMs);
      return isDue;
    });
    this.#earliestMs = earliestMs;
    return due;
  }
}
