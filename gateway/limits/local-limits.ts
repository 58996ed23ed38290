/** The limits of routes, counted in this process; they outlive every reload of the policy. */

import { CellRates } from '../core/cell-rates.ts';
import type { Rate } from '../core/units.ts';
import type { LimitClaim, LimitLease, LimitRefusal, LimitsBackend } from './limits-backend.ts';

/** Holders remembered for each kind of rate. */
const CAPACITY = 100_000;
/** Nobody knows when a running request will end. */
const PLACE_WAIT_MS = 1000;

export class LocalLimits implements LimitsBackend {
  readonly name = 'local';
  readonly #requests = new CellRates(CAPACITY);
  readonly #bytes = new CellRates(CAPACITY);
  readonly #running = new Map<string, number>();

  /** Places that are taken, of all holders. */
  get taken(): number {
    return [...this.#running.values()].reduce((sum, count) => sum + count, 0);
  }

  claim(claim: LimitClaim, nowMs: number): LimitLease | LimitRefusal {
    const { holder, limits, declaredBytes } = claim;
    const { requests, concurrent, bytes } = limits;
    const running = this.#running.get(holder) ?? 0;
    if (concurrent !== undefined && running >= concurrent)
      return { kind: 'refusal', limit: 'concurrent', waitMs: PLACE_WAIT_MS };
    const requestWaitMs = requests === undefined ? 0 : this.#requests.waitMs(holder, requests, 1, nowMs);
    if (requestWaitMs > 0) return { kind: 'refusal', limit: 'requests', waitMs: requestWaitMs };
    // A request that declares nothing needs a byte at least.
    const byteWaitMs =
      bytes === undefined ? 0 : this.#bytes.waitMs(holder, bytes, Math.max(1, declaredBytes), nowMs);
    if (byteWaitMs > 0) return { kind: 'refusal', limit: 'bytes', waitMs: byteWaitMs };
    if (requests !== undefined) this.#requests.take(holder, requests, 1, nowMs);
    if (bytes !== undefined && declaredBytes > 0) this.#bytes.take(holder, bytes, declaredBytes, nowMs);
    if (concurrent !== undefined) this.#running.set(holder, running + 1);
    return new LocalLease(claim, this.#bytes, () => this.#giveBack(holder));
  }

  #giveBack(holder: string): void {
    const running = this.#running.get(holder) ?? 0;
    if (running > 1) this.#running.set(holder, running - 1);
    else this.#running.delete(holder);
  }
}

/** What was declared is paid for at the start; the rest as it flows, and what did not come is paid back. */
class LocalLease implements LimitLease {
  readonly kind = 'lease';
  readonly #holder: string;
  readonly #budget: Rate | undefined;
  readonly #hasPlace: boolean;
  readonly #bytes: CellRates;
  readonly #giveBack: () => void;
  #paidBytes: number;

  constructor({ holder, limits, declaredBytes }: LimitClaim, bytes: CellRates, giveBack: () => void) {
    this.#holder = holder;
    this.#budget = limits.bytes;
    this.#hasPlace = limits.concurrent !== undefined;
    this.#bytes = bytes;
    this.#giveBack = giveBack;
    this.#paidBytes = declaredBytes;
  }

  spend(totalBytes: number, nowMs: number): number {
    if (this.#budget === undefined || totalBytes <= this.#paidBytes) return 0;
    this.#settle(this.#budget, totalBytes, nowMs);
    return this.#bytes.waitMs(this.#holder, this.#budget, 0, nowMs);
  }

  release(totalBytes: number, nowMs: number): void {
    if (this.#budget !== undefined) this.#settle(this.#budget, totalBytes, nowMs);
    if (this.#hasPlace) this.#giveBack();
  }

  #settle(budget: Rate, totalBytes: number, nowMs: number): void {
    this.#bytes.take(this.#holder, budget, totalBytes - this.#paidBytes, nowMs);
    this.#paidBytes = totalBytes;
  }
}
