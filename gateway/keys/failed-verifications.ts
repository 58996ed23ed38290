/** How often the tokens of a client address had a wrong signature: each such token costs a verification. */

import type { Address } from '../core/address.ts';
import { holderOf } from '../core/address-holder.ts';
import { CellRates } from '../core/cell-rates.ts';
import { shareOf } from '../core/share.ts';
import type { Rate } from '../core/units.ts';

/** Addresses remembered; those that failed longest ago make room, and are let off early. */
const CAPACITY = 10_000;

/** An address that has failed `rate.count` times at once waits, and may then fail once each `perMs / count`. */
export class FailedVerifications {
  readonly #whole: Rate;
  #rate: Rate;
  readonly #failures: CellRates;

  constructor(rate: Rate, capacity = CAPACITY) {
    this.#whole = rate;
    this.#rate = rate;
    this.#failures = new CellRates(capacity);
  }

  /** So many processes see the tokens of one address, each counting for itself. */
  divideAmong(processes: number): void {
    const { count, perMs } = this.#whole;
    this.#rate = { count: shareOf(count, processes), perMs };
  }

  get size(): number {
    return this.#failures.size;
  }

  /** Milliseconds until the address may fail once more; 0 when it may now. */
  waitMs(address: Address, nowMs: number): number {
    return this.#failures.waitMs(holderOf(address), this.#rate, 1, nowMs);
  }

  /** A token of the address had a wrong signature. */
  record(address: Address, nowMs: number): void {
    this.#failures.take(holderOf(address), this.#rate, 1, nowMs);
  }
}
