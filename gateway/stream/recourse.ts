/** What a request can still try if its node failed before it answered: another connection, or the route's fallback. */

import type { RequestHead } from '../core/facts.ts';
import type { Admission } from '../decide.ts';
import type { Upstream } from '../policy/upstream.ts';
import type { Refusal } from '../refuse.ts';
import type { NodeWaiter } from '../relay/node-request.ts';
import type { NodeFault } from '../relay/response-listener.ts';
import type { UpstreamPools } from '../relay/upstream-pools.ts';
import { mayRetry } from './retry.ts';

/** One for each admitted request; each recourse is taken at most once. */
export class Recourse {
  readonly #pools: UpstreamPools;
  readonly #admission: Admission;
  readonly #waiter: NodeWaiter;
  #upstream: Upstream;
  #retried = false;
  #fellBack = false;

  constructor(pools: UpstreamPools, admission: Admission, waiter: NodeWaiter) {
    this.#pools = pools;
    this.#admission = admission;
    this.#waiter = waiter;
    this.#upstream = admission.route.upstream;
  }

  /** The upstream the request currently goes to. */
  get upstream(): Upstream {
    return this.#upstream;
  }

  /** Asks for the first node. */
  begin(): void {
    this.#pools.acquire(this.#upstream, this.#admission.params, this.#waiter);
  }

  /** Whether `retry` would send the request again if its connection turned out to be stale. */
  mayRetry(head: RequestHead): boolean {
    return !this.#retried && mayRetry(head);
  }

  /** Returns true if a kept connection was stale and the waiter gets a new one, to another node if there is one. */
  retry(head: RequestHead, fault: NodeFault, url: string | undefined): boolean {
    if (fault.kind !== 'stale' || !this.mayRetry(head)) return false;
    this.#retried = true;
    this.#pools.acquire(this.#upstream, this.#admission.params, this.#waiter, url);
    return true;
  }

  /**
   * Called if no node can take the request. Returns true if the fallback upstream is asked for a node, the fallback
   * answer if the route has one, or undefined if there is no fallback left.
   */
  fallBack(): true | Refusal | undefined {
    const { fallback } = this.#admission.route;
    if (fallback === undefined || this.#fellBack) return undefined;
    this.#fellBack = true;
    if (!('upstream' in fallback)) return fallback;
    this.#upstream = fallback.upstream;
    this.#pools.acquire(fallback.upstream, this.#admission.params, this.#waiter);
    return true;
  }
}
