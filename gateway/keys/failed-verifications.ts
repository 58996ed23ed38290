/** Counts tokens with an invalid signature per client address, because each of them costs a verification. */

import type { Address } from '../core/address.ts';
import { holderOf } from '../core/address-holder.ts';
import { CellRates } from '../core/cell-rates.ts';
import { shareOf } from '../core/share.ts';
import type { Rate } from '../core/units.ts';

/** Addresses remembered; the one whose last failure is longest ago makes room, and so is let off early. */
const CAPACITY = 10_000;
/** Longer than a fetch of keys for a token may take. */
const MAX_WAIT_MS = 10_000;

export interface FailedVerificationsOptions {
  readonly capacity?: number;
  readonly longestWaitMs?: number;
}

/** Tokens of one address: how many are being verified, and those that wait for one of them to end, oldest first. */
interface Crowd {
  underWay: number;
  readonly waiting: Set<Waiter>;
}

interface Waiter {
  readonly nowMs: number;
  readonly answer: (waitMs: number) => void;
}

/** An address that failed `rate.count` times at once must wait, and may then fail once per `perMs / count`. */
export class FailedVerifications {
  readonly #whole: Rate;
  #rate: Rate;
  readonly #failures: CellRates;
  readonly #crowds = new Map<string, Crowd>();
  readonly #longestWaitMs: number;

  constructor(rate: Rate, options: FailedVerificationsOptions = {}) {
    this.#whole = rate;
    this.#rate = rate;
    this.#failures = new CellRates(options.capacity ?? CAPACITY);
    this.#longestWaitMs = options.longestWaitMs ?? MAX_WAIT_MS;
  }

  /** Divides the rate among processes that see tokens of the same addresses and count separately. */
  divideAmong(processes: number): void {
    const { count, perMs } = this.#whole;
    this.#rate = { count: shareOf(count, processes), perMs };
  }

  get size(): number {
    return this.#failures.size;
  }

  /** Milliseconds until the address may fail once more; 0 if it may now. */
  waitMs(address: Address, nowMs: number): number {
    return this.#failures.waitMs(holderOf(address), this.#rate, 1, nowMs);
  }

  /** Records a token of the address with an invalid signature. */
  record(address: Address, nowMs: number): void {
    this.#failures.take(holderOf(address), this.#rate, 1, nowMs);
  }

  /**
   * Resolves to 0 if a token of the address may be verified now; `end` must follow. Otherwise to the milliseconds to wait.
   * Tokens being verified count as failures until they end: if they use up the rate, further ones wait for up to
   * `longestWaitMs`, so that a crowd of good tokens behind one address is verified a few at a time.
   */
  begin(address: Address, nowMs: number): Promise<number> {
    const holder = holderOf(address);
    const crowd = this.#crowds.get(holder) ?? { underWay: 0, waiting: new Set() };
    this.#crowds.set(holder, crowd);
    return new Promise((resolve) => {
      const giveUp = (): void => waiter.answer(Math.max(1, this.#crowdedMs(holder, crowd, nowMs)));
      const timer = setTimeout(giveUp, this.#longestWaitMs);
      const waiter = {
        nowMs,
        answer: (waitMs: number): void => {
          clearTimeout(timer);
          crowd.waiting.delete(waiter);
          resolve(waitMs);
        },
      };
      crowd.waiting.add(waiter);
      this.#letIn(holder, crowd);
    });
  }

  /** Must be called once for each `begin` that resolved to 0. */
  end(address: Address, nowMs: number, hasFailed: boolean): void {
    if (hasFailed) this.record(address, nowMs);
    const holder = holderOf(address);
    const crowd = this.#crowds.get(holder);
    if (crowd === undefined) return;
    crowd.underWay -= 1;
    this.#letIn(holder, crowd);
  }

  /** Resolves the waiters whose turn has come, and those that must be refused. */
  #letIn(holder: string, crowd: Crowd): void {
    for (const { nowMs, answer } of crowd.waiting) {
      const waitMs = this.#failures.waitMs(holder, this.#rate, 1, nowMs);
      if (waitMs === 0 && this.#crowdedMs(holder, crowd, nowMs) > 0) return;
      if (waitMs === 0) crowd.underWay += 1;
      answer(waitMs);
    }
    if (crowd.underWay === 0) this.#crowds.delete(holder);
  }

  /** Milliseconds until one more may fail, if all fail that are under way. */
  #crowdedMs(holder: string, { underWay }: Crowd, nowMs: number): number {
    return this.#failures.waitMs(holder, this.#rate, underWay + 1, nowMs);
  }
}
