/** Whether a caller is fast enough, counting only time spent waiting for the caller. */

import { MIB } from '../core/units.ts';
import type { MinRate } from '../policy/policy.ts';

/** Monotonic milliseconds. May leave out time in which the process was stalled, since it saw nothing arrive then. */
export type Clock = () => number;

/** How fast a caller sends. */
export class SendingPace {
  readonly #rule: MinRate;
  readonly #clock: Clock;
  /** Since when the caller is waited for; undefined while the node, or room for more bytes, is. */
  #sinceMs: number | undefined;
  #waitedMs = 0;
  #seenBytes = 0;

  constructor(rule: MinRate, clock: Clock) {
    this.#rule = rule;
    this.#clock = clock;
  }

  wait(): void {
    this.#sinceMs ??= this.#clock();
  }

  rest(): void {
    if (this.#sinceMs !== undefined) this.#waitedMs += this.#clock() - this.#sinceMs;
    this.#sinceMs = undefined;
  }

  /** Judges each span of `graceMs` of waiting by itself, so a fast beginning does not make up for a slow end. */
  isTooSlow(totalBytes: number): boolean {
    if (this.#sinceMs !== undefined) {
      this.rest();
      this.wait();
    }
    if (this.#waitedMs < this.#rule.graceMs) return false;
    const isSlow = timeFor(this.#rule, totalBytes - this.#seenBytes) < this.#waitedMs;
    this.#waitedMs = 0;
    this.#seenBytes = totalBytes;
    return isSlow;
  }
}

/**
 * Bytes a caller may take before that becomes visible here. The kernel takes more from us only when a third of its send
 * buffer is free, which Linux lets grow to 4 MiB (tcp(7), tcp_wmem); to that third comes what we have given it.
 */
const UNSEEN_BYTES = 2 * MIB;

/**
 * How fast a caller takes its answer. Each byte taken earns the time it needs at the minimum rate. The credit is capped
 * at the grace period plus the time for `UNSEEN_BYTES`.
 */
export class TakingPace {
  readonly #rule: MinRate;
  readonly #clock: Clock;
  readonly #mostMs: number;
  /** Time earned and not yet used up by waiting. */
  #creditMs: number;
  #heldSinceMs: number | undefined;
  #seenBytes = 0;

  constructor(rule: MinRate, clock: Clock) {
    this.#rule = rule;
    this.#clock = clock;
    this.#mostMs = rule.graceMs + timeFor(rule, UNSEEN_BYTES);
    this.#creditMs = this.#mostMs;
  }

  /** The caller is waited for: it must take bytes before it gets more. */
  wait(): void {
    this.#heldSinceMs = this.#clock();
  }

  rest(): void {
    if (this.#heldSinceMs !== undefined) this.#creditMs -= this.#clock() - this.#heldSinceMs;
    this.#heldSinceMs = undefined;
  }

  isTooSlow(takenBytes: number): boolean {
    if (this.#heldSinceMs !== undefined) {
      this.rest();
      this.wait();
    }
    const earnedMs = timeFor(this.#rule, takenBytes - this.#seenBytes);
    this.#creditMs = Math.min(this.#mostMs, this.#creditMs + earnedMs);
    this.#seenBytes = takenBytes;
    return this.#creditMs < 0;
  }
}

function timeFor({ rate }: MinRate, bytes: number): number {
  return (bytes * rate.perMs) / rate.count;
}
