/** Whether a caller is fast enough, by the time in which nothing but the caller was waited for. */

import type { MinRate } from '../policy/policy.ts';

/** How fast a caller sends. Times are monotonic milliseconds. */
export class SendingPace {
  readonly #rule: MinRate;
  /** Since when the caller is waited for; nothing while the node, or room, is. */
  #sinceMs: number | undefined;
  #waitedMs = 0;
  #seenBytes = 0;

  constructor(rule: MinRate) {
    this.#rule = rule;
  }

  wait(nowMs: number): void {
    this.#sinceMs ??= nowMs;
  }

  rest(nowMs: number): void {
    if (this.#sinceMs !== undefined) this.#waitedMs += nowMs - this.#sinceMs;
    this.#sinceMs = undefined;
  }

  /** Judges each span of so much waiting by itself: a fast beginning earns no slow end. */
  isTooSlow(totalBytes: number, nowMs: number): boolean {
    if (this.#sinceMs !== undefined) {
      this.#waitedMs += nowMs - this.#sinceMs;
      this.#sinceMs = nowMs;
    }
    if (this.#waitedMs < this.#rule.graceMs) return false;
    const isSlow = isBelow(this.#rule, totalBytes - this.#seenBytes, this.#waitedMs);
    this.#waitedMs = 0;
    this.#seenBytes = totalBytes;
    return isSlow;
  }
}

/**
 * How fast a caller takes its answer. What it has not taken shows only when all of it is gone, so a span ends there, and
 * what is outstanding has its own time at that rate and the grace.
 */
export class TakingPace {
  readonly #rule: MinRate;
  #heldSinceMs: number | undefined;
  #outstandingBytes = 0;
  #waitedMs = 0;
  #takenBytes = 0;

  constructor(rule: MinRate) {
    this.#rule = rule;
  }

  /** The caller has so many bytes to take before it gets more. */
  wait(outstandingBytes: number, nowMs: number): void {
    this.#heldSinceMs = nowMs;
    this.#outstandingBytes = outstandingBytes;
  }

  /** It has taken them. */
  rest(nowMs: number): void {
    if (this.#heldSinceMs === undefined) return;
    this.#waitedMs += nowMs - this.#heldSinceMs;
    this.#takenBytes += this.#outstandingBytes;
    this.#heldSinceMs = undefined;
  }

  isTooSlow(nowMs: number): boolean {
    const { graceMs } = this.#rule;
    if (this.#heldSinceMs !== undefined) {
      const pastGraceMs = nowMs - this.#heldSinceMs - graceMs;
      if (pastGraceMs > 0 && isBelow(this.#rule, this.#outstandingBytes, pastGraceMs)) return true;
    }
    if (this.#waitedMs < graceMs) return false;
    const isSlow = isBelow(this.#rule, this.#takenBytes, this.#waitedMs);
    this.#waitedMs = 0;
    this.#takenBytes = 0;
    return isSlow;
  }
}

function isBelow({ rate }: MinRate, bytes: number, spanMs: number): boolean {
  return bytes * rate.perMs < rate.count * spanMs;
}
