/** The limits of routes, counted in this process; the counts survive policy reloads. */

import { CellRates } from '../core/cell-rates.ts';
import type { Rate } from '../core/units.ts';
import type { LimitName, Quotas } from '../policy/policy.ts';
import { pieceBytes, slackBytes } from './budget-parts.ts';
import {
  type LimitClaim,
  type LimitLease,
  type LimitRefusal,
  type LimitsBackend,
  type LimitsLeft,
  PLACE_WAIT_MS,
  type Spent,
} from './limits-backend.ts';

/** Holders remembered for each kind of rate. */
const CAPACITY = 100_000;

export class LocalLimits implements LimitsBackend {
  readonly #requests = new CellRates(CAPACITY);
  readonly #bytes = new CellRates(CAPACITY);
  readonly #running = new Map<string, number>();

  /** Places taken by all holders together. */
  get taken(): number {
    return [...this.#running.values()].reduce((sum, count) => sum + count, 0);
  }

  claim(claim: LimitClaim, nowMs: number): LimitLease | LimitRefusal {
    const { holder, limits, declaredBytes } = claim;
    const { requests, concurrent, bytes } = limits;
    const running = this.#running.get(holder) ?? 0;
    if (concurrent !== undefined && running >= concurrent) return refused('concurrent', PLACE_WAIT_MS, 0);
    const requestWaitMs = requests === undefined ? 0 : this.#requests.waitMs(holder, requests, 1, nowMs);
    if (requestWaitMs > 0) return refused('requests', requestWaitMs, 0);
    if (bytes !== undefined) {
      // A request that declares nothing needs at least one byte.
      const byteWaitMs = this.#bytes.waitMs(holder, bytes, Math.max(1, declaredBytes), nowMs);
      if (byteWaitMs > 0) return refused('bytes', byteWaitMs, this.#bytes.left(holder, bytes, nowMs));
    }
    if (requests !== undefined) this.#requests.take(holder, requests, 1, nowMs);
    if (bytes !== undefined && declaredBytes > 0) this.#bytes.take(holder, bytes, declaredBytes, nowMs);
    if (concurrent !== undefined) this.occupy(holder);
    return new LocalLease(claim, this.#bytes, this.#left(holder, limits, nowMs), () => this.vacate(holder));
  }

  /** Counts one more running request of the holder, whether this process or Redis admitted it. */
  occupy(holder: string): void {
    this.#running.set(holder, (this.#running.get(holder) ?? 0) + 1);
  }

  vacate(holder: string): void {
    const running = this.#running.get(holder) ?? 0;
    if (running > 1) this.#running.set(holder, running - 1);
    else this.#running.delete(holder);
  }

  /** Takes `bytes` from the budget if at least one is left. */
  takeBytes(holder: string, budget: Rate, bytes: number, nowMs: number): Spent {
    const waitMs = this.#bytes.waitMs(holder, budget, 1, nowMs);
    if (waitMs > 0) return refused('bytes', waitMs, 0);
    this.#bytes.take(holder, budget, bytes, nowMs);
    return undefined;
  }

  #left(holder: string, { requests, concurrent, bytes }: Quotas, nowMs: number): LimitsLeft {
    const running = this.#running.get(holder) ?? 0;
    return {
      ...(requests !== undefined && { requests: this.#requests.left(holder, requests, nowMs) }),
      ...(concurrent !== undefined && { concurrent: Math.max(0, concurrent - running) }),
      ...(bytes !== undefined && { bytes: this.#bytes.left(holder, bytes, nowMs) }),
    };
  }
}

/** Declared bytes are paid for at the start, the rest a piece in advance; bytes that did not flow are refunded. */
class LocalLease implements LimitLease {
  readonly kind = 'lease';
  readonly backend = 'local';
  readonly left: LimitsLeft;
  readonly #holder: string;
  readonly #budget: Rate | undefined;
  readonly #hasPlace: boolean;
  readonly #bytes: CellRates;
  readonly #vacate: () => void;
  paidBytes: number;

  constructor(
    { holder, limits, declaredBytes }: LimitClaim,
    bytes: CellRates,
    left: LimitsLeft,
    vacate: () => void,
  ) {
    this.#holder = holder;
    this.#budget = limits.bytes;
    this.#hasPlace = limits.concurrent !== undefined;
    this.#bytes = bytes;
    this.left = left;
    this.#vacate = vacate;
    this.paidBytes = limits.bytes === undefined ? Number.POSITIVE_INFINITY : declaredBytes;
  }

  spend(totalBytes: number, nowMs: number): Spent {
    if (this.#budget === undefined || totalBytes <= this.paidBytes) return undefined;
    this.#settle(this.#budget, totalBytes, nowMs);
    if (this.#bytes.waitMs(this.#holder, this.#budget, -slackBytes(this.#budget), nowMs) > 0)
      return refused('bytes', this.#bytes.waitMs(this.#holder, this.#budget, 0, nowMs), 0);
    const left = this.#bytes.left(this.#holder, this.#budget, nowMs);
    this.#settle(this.#budget, totalBytes + Math.min(left, pieceBytes(this.#budget)), nowMs);
    return undefined;
  }

  release(totalBytes: number, nowMs: number): void {
    if (this.#budget !== undefined) this.#settle(this.#budget, totalBytes, nowMs);
    if (this.#hasPlace) this.#vacate();
  }

  #settle(budget: Rate, totalBytes: number, nowMs: number): void {
    this.#bytes.take(this.#holder, budget, totalBytes - this.paidBytes, nowMs);
    this.paidBytes = totalBytes;
  }
}

function refused(limit: LimitName, waitMs: number, left: number): LimitRefusal {
  return { kind: 'refusal', backend: 'local', limit, waitMs, left };
}
