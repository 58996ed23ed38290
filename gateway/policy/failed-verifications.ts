/** How often the tokens of a client address had a wrong signature: each such token costs a verification. */

import { type Address, prefixAround } from '../core/address.ts';
import type { Rate } from '../core/units.ts';

/** Addresses remembered; the one that failed longest ago makes room. */
const CAPACITY = 10_000;
/** A caller of IPv6 has a whole network to call from (RFC 6177). */
const IPV6_NETWORK_BITS = 64;

/**
 * The generic cell rate algorithm (ITU-T I.371): an address that has failed `rate.count` times at once waits, and may
 * then fail once each `perMs / count`. Bounded: what makes room is an address let off early.
 */
export class FailedVerifications {
  readonly #intervalMs: number;
  readonly #burstMs: number;
  readonly #capacity: number;
  /** Until when the failures of each address last, milliseconds of the caller's clock. */
  readonly #takenUntilMs = new Map<string, number>();

  constructor({ count, perMs }: Rate, capacity = CAPACITY) {
    this.#intervalMs = perMs / count;
    this.#burstMs = perMs;
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#takenUntilMs.size;
  }

  /** Milliseconds until the address may fail once more; 0 when it may now. */
  waitMs(address: Address, nowMs: number): number {
    const takenUntilMs = this.#takenUntilMs.get(keyOf(address)) ?? 0;
    return Math.max(0, takenUntilMs + this.#intervalMs - nowMs - this.#burstMs);
  }

  /** A token of the address had a wrong signature. */
  record(address: Address, nowMs: number): void {
    const key = keyOf(address);
    const takenUntilMs = Math.max(this.#takenUntilMs.get(key) ?? 0, nowMs) + this.#intervalMs;
    this.#takenUntilMs.delete(key);
    const [oldest] = this.#takenUntilMs.keys();
    if (oldest !== undefined && this.#takenUntilMs.size >= this.#capacity) this.#takenUntilMs.delete(oldest);
    this.#takenUntilMs.set(key, takenUntilMs);
  }
}

function keyOf(address: Address): string {
  return address.family === 4 ? address.text : prefixAround(address, IPV6_NETWORK_BITS).text;
}
