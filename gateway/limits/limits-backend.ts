/** Where the limits of routes are counted: in this process, or in a place that gateways share. */

import type { RouteLimits } from '../policy/policy.ts';

export type LimitName = 'requests' | 'concurrent' | 'bytes';

/** What one request asks of the limits of its route. */
export interface LimitClaim {
  /** Tenant, route and whoever shares their limits. */
  readonly holder: string;
  readonly limits: RouteLimits;
  /** Body bytes the request has said it will bring; 0 where it has not. */
  readonly declaredBytes: number;
}

/** Not now. */
export interface LimitRefusal {
  readonly kind: 'refusal';
  readonly limit: LimitName;
  /** Until it is worth asking again. */
  readonly waitMs: number;
}

/** A request that has its place and its part of the rate, until it is given back. */
export interface LimitLease {
  readonly kind: 'lease';
  /** So many body bytes have flowed so far. Until there is more of the byte budget, where it is used up; else 0. */
  spend(totalBytes: number, nowMs: number): number;
  /** The request is over, with so many body bytes in all. Called once. */
  release(totalBytes: number, nowMs: number): void;
}

/** A promise only where the answer has to be asked for; a lease that comes too late is released by whoever asked. */
export interface LimitsBackend {
  /** Label of the metric. */
  readonly name: string;
  /**
   * Either everything the claim asks for is taken, or nothing. Times are monotonic milliseconds: a clock that is set back
   * keeps nobody waiting.
   */
  claim(claim: LimitClaim, nowMs: number): LimitLease | LimitRefusal | Promise<LimitLease | LimitRefusal>;
}
