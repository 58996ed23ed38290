/** Where the limits of routes are counted: in this process, or in a place that gateways share. */

import type { LimitName, Quotas } from '../policy/policy.ts';

/** Who decided: this process, the shared Redis, or nobody, since Redis is away and the policy says what that means. */
export type LimitDecider = 'local' | 'redis' | 'none';

/** What one request asks of the limits of its route. */
export interface LimitClaim {
  /** Tenant, route and whoever shares their limits. */
  readonly holder: string;
  readonly limits: Quotas;
  /** Body bytes the request has said it will bring; 0 where it has not. */
  readonly declaredBytes: number;
}

/** What the holder may still use of each limit, whole units; nothing where that is not known. */
export type LimitsLeft = Readonly<Partial<Record<LimitName, number>>>;

/** Not now. */
export interface LimitRefusal {
  readonly kind: 'refusal';
  /** `none`: nothing is used up, the limits cannot be asked. */
  readonly backend: LimitDecider;
  readonly limit: LimitName;
  /** Until it is worth asking again. */
  readonly waitMs: number;
  /** Of the limit that refused. */
  readonly left: number;
}

/** A request that has its place and its part of the rate, until it is given back. */
export interface LimitLease {
  readonly kind: 'lease';
  readonly backend: LimitDecider;
  /** When the request was let in. */
  readonly left: LimitsLeft;
  /** Body bytes that are paid for; with more of them `spend` is called. Infinity where no budget counts them. */
  readonly paidBytes: number;
  /**
   * So many body bytes have flowed, more than were paid for: nothing if they may and a few more, which are paid for now. A
   * promise where that has to be asked, which rejects where there is no answer in time; until then nothing more should flow.
   */
  spend(totalBytes: number, nowMs: number): Spent | Promise<Spent>;
  /** The request is over, with so many body bytes in all. Called once. */
  release(totalBytes: number, nowMs: number): void;
}

export type Spent = LimitRefusal | undefined;

/** A promise only where the answer has to be asked for; a lease that comes too late is released by whoever asked. */
export interface LimitsBackend {
  /**
   * Either everything the claim asks for is taken, or nothing. Times are monotonic milliseconds: a clock that is set back
   * keeps nobody waiting.
   */
  claim(claim: LimitClaim, nowMs: number): LimitLease | LimitRefusal | Promise<LimitLease | LimitRefusal>;
}

/** Nobody knows when a running request will end. */
export const PLACE_WAIT_MS = 1000;
