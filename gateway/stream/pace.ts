/** Whether a caller is fast enough, by the time in which nothing but the caller was waited for. */

import { MIB } from '../core/units.ts';
import type { MinRate } from '../policy/policy.ts';

/** Monotonic milliseconds; time in which the process stood still may be left out, as nobody can be seen to send in it. */
export type Clock = () => number;

/** How fast a caller sends. */
export class SendingPace {
  readonly #rule: MinRate;
  readonly #clock: Clock;
  /** Since when the caller is waited for; nothing while the node, or room, is. */
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

  /** Judges each span of so much waiting by itself: a fast beginning earns no slow end. */
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
 * What the system may take from a caller's connection before it takes more of the answer from us: a third of its send
 * buffer, which Linux lets grow to 4 MiB (tcp(7), tcp_wmem), and what we have given it. So much later shows a byte.
 */
const UNSEEN_BYTES = 2 * MIB;

/**
 * How fast a caller takes its answer. Each byte it takes earns the time it may need at the rate; what is earned lasts for
 * the grace, and for what is not seen to be taken, at most.
 */
export class TakingPace {
  readonly #rule: MinRate;
  readonly #clock: Clock;
  readonly #mostMs: number;
  /** Time that has been earned and not been waited for. */
  #creditMs: number;
  #heldSinceMs: number | undefined;
  #seenBytes = 0;

  constructor(rule: MinRate, clock: Clock) {
    this.#rule = rule;
    this.#clock = clock;
    this.#mostMs = rule.graceMs + timeFor(rule, UNSEEN_BYTES);
    this.#creditMs = this.#mostMs;
  }

  /** The caller is waited for: it has to take some before it gets more. */
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
