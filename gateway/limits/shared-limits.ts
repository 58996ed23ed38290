/** The limits of routes, counted in Redis for all gateways together; `onFailure` decides while it is unavailable. */

import type { Rate } from '../core/units.ts';
import type { SharedState } from '../policy/gateway-settings.ts';
import type { LimitName, Quotas } from '../policy/policy.ts';
import { pieceBytes, slackBytes } from './budget-parts.ts';
import { type BytePool, BytePools } from './byte-pools.ts';
import { gatewayShare, rateShare } from './gateway-share.ts';
import type { LimitStore, StoreAnswer } from './limit-store.ts';
import {
  type LimitClaim,
  type LimitLease,
  type LimitRefusal,
  type LimitsBackend,
  type LimitsLeft,
  PLACE_WAIT_MS,
  type Spent,
} from './limits-backend.ts';
import type { LocalLimits } from './local-limits.ts';

/** Suggested wait while Redis is unavailable. */
const AWAY_WAIT_MS = 1000;

/**
 * Requests and places are exact: Redis decides each. Bytes that a request declares are paid for before it begins;
 * others are drawn from a pool (`BytePool`). A stream whose pool is empty is held until Redis has answered, so that a
 * budget is exceeded only by what was read from each stream before that, which is charged.
 */
export class SharedLimits implements LimitsBackend {
  readonly #store: LimitStore;
  readonly #local: LocalLimits;
  readonly #pools: BytePools;
  onFailure: SharedState['onFailure'];

  /** `local` decides while Redis is unavailable, and counts the places taken here at all times. */
  constructor(store: LimitStore, local: LocalLimits, onFailure: SharedState['onFailure']) {
    this.#store = store;
    this.#local = local;
    this.#pools = new BytePools(store);
    this.onFailure = onFailure;
  }

  claim(claim: LimitClaim, nowMs: number): LimitLease | LimitRefusal | Promise<LimitLease | LimitRefusal> {
    if (!this.#store.isUp) return this.#claimInstead(claim, nowMs);
    const { holder, limits } = claim;
    const key = this.#store.keyOf(holder);
    if (limits.bytes === undefined) return this.#ask(claim, key, undefined, 0);
    const pool = this.#pools.enter(key, limits.bytes);
    const needed = Math.max(1, claim.declaredBytes);
    if (limits.requests !== undefined || limits.concurrent !== undefined || pool.balance < needed)
      return this.#ask(claim, key, pool, needed);
    pool.draw(needed);
    return new SharedLease(this, claim, {
      key,
      place: '',
      pool,
      paidBytes: needed,
      left: { bytes: pool.left },
    });
  }

  /** Charges the budget while Redis is unavailable, as `onFailure` says. */
  spendInstead(holder: string, budget: Rate, bytes: number, nowMs: number): Spent {
    if (this.onFailure === 'allow') return undefined;
    if (this.onFailure === 'deny') return unavailable('bytes');
    const share = rateShare(budget, this.#store.state.gateways);
    return this.#local.takeBytes(holder, share, bytes, nowMs);
  }

  leave(holder: string, key: string, place: string): void {
    if (place === '') return;
    this.#store.leave(key, place);
    this.#local.vacate(holder);
  }

  close(): void {
    this.#pools.close();
    this.#store.close();
  }

  /** Draws from the pool first, so that two requests do not count on the same bytes. */
  async #ask(
    claim: LimitClaim,
    key: string,
    pool: BytePool | undefined,
    needed: number,
  ): Promise<LimitLease | LimitRefusal> {
    const drawn = pool?.draw(needed) ?? 0;
    const missing = needed - drawn;
    const wanted = missing > 0 ? missing + (pool?.spareBytes ?? 0) : 0;
    const asked = { key, limits: claim.limits, neededBytes: missing, wantedBytes: wanted };
    const answer = await this.#store.claim(asked);
    if (answer?.kind === 'grant') return this.#lease(claim, key, pool, needed, missing, answer);
    pool?.add(drawn);
    pool?.leave(performance.now());
    if (answer === undefined) return this.#claimInstead(claim, performance.now());
    const { limit, waitMs, left } = answer;
    return {
      kind: 'refusal',
      backend: 'redis',
      limit,
      waitMs: limit === 'concurrent' ? PLACE_WAIT_MS : waitMs,
      left,
    };
  }

  #lease(
    claim: LimitClaim,
    key: string,
    pool: BytePool | undefined,
    paidBytes: number,
    missing: number,
    { place, bytes, left }: Extract<StoreAnswer, { kind: 'grant' }>,
  ): LimitLease {
    pool?.add(bytes - missing);
    pool?.know(left.bytes);
    if (place !== '') this.#local.occupy(claim.holder);
    const told = pool === undefined ? left : { ...left, bytes: pool.left };
    return new SharedLease(this, claim, { key, place, pool, paidBytes, left: told });
  }

  #claimInstead(claim: LimitClaim, nowMs: number): LimitLease | LimitRefusal {
    if (this.onFailure === 'allow') return UNCOUNTED;
    if (this.onFailure === 'deny') return unavailable(firstOf(claim.limits));
    return this.#local.claim(
      { ...claim, limits: gatewayShare(claim.limits, this.#store.state.gateways) },
      nowMs,
    );
  }
}

/** What Redis has granted a request. */
interface Granted {
  readonly key: string;
  /** Empty if places are not limited. */
  readonly place: string;
  readonly pool: BytePool | undefined;
  readonly paidBytes: number;
  readonly left: LimitsLeft;
}

class SharedLease implements LimitLease {
  readonly kind = 'lease';
  readonly backend = 'redis';
  readonly left: LimitsLeft;
  readonly #limits: SharedLimits;
  readonly #holder: string;
  readonly #key: string;
  readonly #place: string;
  readonly #pool: BytePool | undefined;
  /** Paid bytes up to here return to the pool if they do not flow; those beyond did not come from Redis. */
  #pooledBytes: number;
  #released = false;
  paidBytes: number;

  constructor(limits: SharedLimits, { holder }: LimitClaim, { key, place, pool, paidBytes, left }: Granted) {
    this.#limits = limits;
    this.#holder = holder;
    this.#key = key;
    this.#place = place;
    this.#pool = pool;
    this.paidBytes = pool === undefined ? Number.POSITIVE_INFINITY : paidBytes;
    this.#pooledBytes = paidBytes;
    this.left = left;
  }

  spend(totalBytes: number, nowMs: number): Spent | Promise<Spent> {
    const pool = this.#pool;
    if (pool === undefined || totalBytes <= this.paidBytes) return undefined;
    pool.add(this.paidBytes - totalBytes);
    this.#pay(totalBytes);
    if (pool.balance < 0) return this.#refill(pool, nowMs);
    this.#payAhead(pool);
    return undefined;
  }

  release(totalBytes: number, nowMs: number): void {
    this.#released = true;
    const unused = Math.max(0, this.#pooledBytes - totalBytes);
    this.#pool?.add(unused - Math.max(0, totalBytes - this.paidBytes));
    this.#pool?.leave(nowMs);
    this.#limits.leave(this.#holder, this.#key, this.#place);
  }

  #pay(bytes: number): void {
    this.paidBytes = bytes;
    this.#pooledBytes = bytes;
  }

  #payAhead(pool: BytePool): void {
    this.#pay(this.paidBytes + pool.draw(pieceBytes(pool.budget)));
  }

  async #refill(pool: BytePool, nowMs: number): Promise<Spent> {
    const answer = await pool.fill();
    if (this.#released) return undefined;
    if (answer === undefined) return this.#spendInstead(pool, nowMs);
    if (answer.kind === 'refusal' && pool.balance < -slackBytes(pool.budget)) {
      const { waitMs, left } = answer;
      return { kind: 'refusal', backend: 'redis', limit: 'bytes', waitMs, left };
    }
    this.#payAhead(pool);
    return undefined;
  }

  #spendInstead(pool: BytePool, nowMs: number): Spent {
    const piece = pieceBytes(pool.budget);
    const debt = Math.max(0, -pool.balance);
    const spent = this.#limits.spendInstead(this.#holder, pool.budget, debt + piece, nowMs);
    if (spent !== undefined) return spent;
    pool.add(debt);
    this.paidBytes += piece;
    return undefined;
  }
}

/** The lease of a request that is not counted. */
const UNCOUNTED: LimitLease = {
  kind: 'lease',
  backend: 'none',
  left: {},
  paidBytes: Number.POSITIVE_INFINITY,
  spend: () => undefined,
  release: () => undefined,
};

function unavailable(limit: LimitName): LimitRefusal {
  return { kind: 'refusal', backend: 'none', limit, waitMs: AWAY_WAIT_MS, left: 0 };
}

function firstOf({ requests, concurrent }: Quotas): LimitName {
  if (requests !== undefined) return 'requests';
  return concurrent === undefined ? 'bytes' : 'concurrent';
}
