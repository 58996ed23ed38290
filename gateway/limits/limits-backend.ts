/** What counts the limits of routes: this process, or a store that gateways share. */

import type { LimitName, Quotas } from '../policy/policy.ts';

/** What decided: this process, the shared Redis, or (`none`) `onFailure: allow` or `deny` while it is unavailable. */
export type LimitDecider = 'local' | 'redis' | 'none';

/** What one request claims from the limits of its route. */
export interface LimitClaim {
  /** Tenant, route, and the subject, address or model that the limits are counted for. */
  readonly holder: string;
  readonly limits: Quotas;
  /** Body bytes the request declares; 0 if it declares none. */
  readonly declaredBytes: number;
}

/** What the holder may still use of each limit, in whole units; absent if unknown. */
export type LimitsLeft = Readonly<Partial<Record<LimitName, number>>>;

/** The claim is refused for now. */
export interface LimitRefusal {
  readonly kind: 'refusal';
  /** `none`: no limit is exceeded, but the limits cannot be checked. */
  readonly backend: LimitDecider;
  readonly limit: LimitName;
  /** Time until it is worth asking again. */
  readonly waitMs: number;
  /** What is left of the limit that refused. */
  readonly left: number;
}

/** The place and the part of each rate that a request holds until `release`. */
export interface LimitLease {
  readonly kind: 'lease';
  readonly backend: LimitDecider;
  /** As of when the request was admitted. */
  readonly left: LimitsLeft;
  /** Body bytes that are paid for; beyond them, `spend` is called. Infinity if no budget counts them. */
  readonly paidBytes: number;
  /**
   * `totalBytes` body bytes have flowed, more than were paid for. Returns undefined if they may, after paying for them
   * and for some more; a promise if Redis or the primary must be asked, which rejects if there is no answer in time.
   * Until it settles, nothing more should flow.
   */
  spend(totalBytes: number, nowMs: number): Spent | Promise<Spent>;
  /** The request is over, with `totalBytes` body bytes in all. Called once. */
  release(totalBytes: number, nowMs: number): void;
}

export type Spent = LimitRefusal | undefined;

/** Returns a promise only if Redis or the primary must be asked; the caller of `claim` releases a lease that comes too late. */
export interface LimitsBackend {
  /**
   * Takes either everything the claim asks for, or nothing. Times are monotonic milliseconds, so that a clock that is
   * set back keeps nobody waiting.
   */
  claim(claim: LimitClaim, nowMs: number): LimitLease | LimitRefusal | Promise<LimitLease | LimitRefusal>;
}

/** Suggested wait for a place: when a running request will end is unknown. */
export const PLACE_WAIT_MS = 1000;
