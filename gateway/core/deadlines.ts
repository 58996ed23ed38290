/** Time limits of connections and streams: one sweep for all of them instead of one timer for each. */

/** Something that ends when its time is up. */
export interface Expiring {
  /** Called once, by the sweep, after the deadline was removed. */
  expire(): void;
}

/**
 * Deadlines on a coarse clock. `arm` costs one `Map.set`; the owner calls `sweep` with a monotonic clock every
 * so often, and a deadline fires in the first sweep at or after it. Precision is the sweep's interval.
 */
export class Deadlines {
  readonly #dueMs = new Map<Expiring, number>();
  #nowMs: number;

  constructor(nowMs: number) {
    this.#nowMs = nowMs;
  }

  /** Monotonic milliseconds as of the last sweep. */
  get nowMs(): number {
    return this.#nowMs;
  }

  get size(): number {
    return this.#dueMs.size;
  }

  /** Sets or moves the one deadline of `item` to `afterMs` from the last sweep. */
  arm(item: Expiring, afterMs: number): void {
    this.#dueMs.set(item, this.#nowMs + afterMs);
  }

  disarm(item: Expiring): void {
    this.#dueMs.delete(item);
  }

  /** Moves the clock and expires what is due. An item armed during the sweep waits for a later one. */
  sweep(nowMs: number): void {
    this.#nowMs = nowMs;
    for (const [item, dueMs] of [...this.#dueMs]) {
      if (dueMs > nowMs || this.#dueMs.get(item) !== dueMs) continue;
      this.#dueMs.delete(item);
      item.expire();
    }
  }
}
