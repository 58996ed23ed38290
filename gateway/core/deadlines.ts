/** Time limits of connections and streams, checked by one sweep instead of one timer each. */

import { Slots, type Slotted } from './slots.ts';

/** Something with a deadline. */
export abstract class Expiring implements Slotted {
  /** Written only by `Deadlines`, like `dueMs`. */
  slot = -1;
  dueMs = 0;

  /** Called once, by the sweep, after the deadline is removed. */
  abstract expire(): void;
}

/**
 * Deadlines on a coarse clock. `arm` costs a few assignments. The owner calls `sweep` at intervals with a monotonic
 * clock, and a deadline fires in the first sweep at or after it. The precision is the sweep interval.
 *
 * A sweep with nothing due looks at nothing and allocates nothing: ten thousand idle connections make no garbage, and
 * V8 returns the memory of a traffic peak once little garbage is made.
 *
 * The clock advances by at most `longestStepMs` from one sweep to the next. A process that stalled, for whatever
 * reason, has not read what arrived meanwhile, so that time does not count against its peers.
 */
export class Deadlines {
  readonly #armed = new Slots<Expiring>();
  readonly #longestStepMs: number;
  #sweptMs: number;
  #nowMs: number;
  /** Lower bound of the next due time; may be early, because deadlines can be extended. */
  #earliestMs = Number.POSITIVE_INFINITY;

  constructor(nowMs: number, longestStepMs = Number.POSITIVE_INFINITY) {
    this.#sweptMs = nowMs;
    this.#nowMs = nowMs;
    this.#longestStepMs = longestStepMs;
  }

  /** Monotonic milliseconds at the last sweep, without the time in which the process was stalled. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Converts `atMs`, a time since the last sweep on the clock passed to `sweep`, to the clock of `nowMs`. */
  timeAt(atMs: number): number {
    return this.#nowMs + this.#stepTo(atMs);
  }

  get size(): number {
    return this.#armed.size;
  }

  /** Sets or moves the one deadline of `item` to `afterMs` after the last sweep. */
  arm(item: Expiring, afterMs: number): void {
    item.dueMs = this.#nowMs + afterMs;
    this.#earliestMs = Math.min(this.#earliestMs, item.dueMs);
    this.#armed.add(item);
  }

  disarm(item: Expiring): void {
    this.#armed.remove(item);
  }

  /** Advances the clock and expires what is due. An item armed during the sweep waits for a later one. */
  sweep(atMs: number): void {
    this.#nowMs += this.#stepTo(atMs);
    this.#sweptMs = atMs;
    const nowMs = this.#nowMs;
    if (nowMs < this.#earliestMs) return;
    for (const item of this.#lookForDue()) {
      // An item that expired before it may have disarmed it or extended its deadline.
      if (item.slot < 0 || item.dueMs > nowMs) continue;
      this.#armed.remove(item);
      item.expire();
    }
  }

  #stepTo(atMs: number): number {
    return Math.min(atMs - this.#sweptMs, this.#longestStepMs);
  }

  /** Returns what is due, and sets the next due time by looking at all armed items. */
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
