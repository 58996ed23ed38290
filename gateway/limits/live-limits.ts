/** The limits of routes, counted as the current policy says: in this process alone, or in the Redis it names. */

import { isDeepStrictEqual } from 'node:util';
import { nameOf } from '../lists/redis-name.ts';
import type { FindAccess } from '../lists/server-access.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { SharedState } from '../policy/gateway-settings.ts';
import type { StoreState } from './limit-store.ts';
import type { LimitClaim, LimitLease, LimitRefusal, LimitsBackend } from './limits-backend.ts';
import { LocalLimits } from './local-limits.ts';
import type { SharedLimits } from './shared-limits.ts';

interface Sharing {
  readonly limits: SharedLimits;
  readonly storeState: () => StoreState;
}

export class LiveLimits implements LimitsBackend {
  readonly #log: Log;
  readonly #findAccess: FindAccess | undefined;
  readonly #local = new LocalLimits();
  #state: SharedState | undefined;
  #sharing: Sharing | undefined;
  #isClosed = false;

  constructor(log: Log, findAccess?: FindAccess) {
    this.#log = log;
    this.#findAccess = findAccess;
  }

  claim(claim: LimitClaim, nowMs: number): LimitLease | LimitRefusal | Promise<LimitLease | LimitRefusal> {
    return (this.#sharing?.limits ?? this.#local).claim(claim, nowMs);
  }

  /** Sets the store's metrics; does nothing if limits are not shared. */
  observe(metrics: Metrics): void {
    if (this.#sharing === undefined) return;
    const { isUp, gateways, failures } = this.#sharing.storeState();
    metrics.limitStore(isUp, gateways, failures);
  }

  /**
   * Counts as `state` says from now on; running requests end where they began. Resolves when it is known whether Redis
   * is available, within about a second.
   */
  async follow(state: SharedState | undefined): Promise<void> {
    if (this.#isClosed) return;
    const before = this.#state;
    this.#state = state;
    if (state !== undefined && isSameStore(state, before)) {
      if (this.#sharing !== undefined) this.#sharing.limits.onFailure = state.onFailure;
      return;
    }
    this.#sharing?.limits.close();
    this.#sharing = undefined;
    if (state !== undefined) await this.#share(state);
  }

  /** For good: a policy that comes later is not followed. */
  close(): void {
    this.#isClosed = true;
    this.#state = undefined;
    this.#sharing?.limits.close();
  }

  /** The Redis client is loaded only when it is needed. */
  async #share(state: SharedState): Promise<void> {
    const { LimitStore } = await import('./limit-store.ts');
    const { SharedLimits } = await import('./shared-limits.ts');
    // The policy may have changed meanwhile.
    if (this.#sharing !== undefined || !isSameStore(state, this.#state)) return;
    const onChange = (isUp: boolean, reason: string): void => this.#onChange(state, isUp, reason);
    const store = new LimitStore(state, onChange, { findAccess: this.#findAccess });
    const limits = new SharedLimits(store, this.#local, this.#state?.onFailure ?? state.onFailure);
    this.#sharing = { limits, storeState: () => store.state };
    await store.open();
  }

  #onChange({ redis }: SharedState, isUp: boolean, reason: string): void {
    if (isUp) this.#log.info({}, 'limits are shared again');
    else
      this.#log.warn(
        { server: nameOf(redis), reason, onFailure: this.#state?.onFailure },
        'limits are not shared: Redis is unavailable',
      );
  }
}

function isSameStore(state: SharedState, other: SharedState | undefined): boolean {
  const storeOf = ({ redis, access, prefix }: SharedState) => ({ redis, access, prefix });
  return other !== undefined && isDeepStrictEqual(storeOf(state), storeOf(other));
}
