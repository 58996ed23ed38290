/** What is left to a request whose node failed it before anything was sent: once more, or the fallback of its route. */

import type { RequestHead } from '../core/facts.ts';
import type { Admission } from '../decide.ts';
import type { Upstream } from '../policy/upstream.ts';
import type { Refusal } from '../refuse.ts';
import type { NodeWaiter } from '../relay/node-request.ts';
import type { NodeFault } from '../relay/response-listener.ts';
import type { UpstreamPools } from '../relay/upstream-pools.ts';
import { mayRetry } from './retry.ts';

/** Of one admitted request; each recourse is taken once. */
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

  /** Where the request goes now. */
  get upstream(): Upstream {
    return this.#upstream;
  }

  /** Asks for the first node. */
  begin(): void {
    this.#pools.acquire(this.#upstream, this.#admission.params, this.#waiter);
  }

  /** Whether `retry` would do it, should the connection be stale. */
  mayRetry(head: RequestHead): boolean {
    return !this.#retried && mayRetry(head);
  }

  /** True: a kept connection was found closed, and the waiter hears of another one, of another node if there is one. */
  retry(head: RequestHead, fault: NodeFault, url: string | undefined): boolean {
    if (fault.kind !== 'stale' || !this.mayRetry(head)) return false;
    this.#retried = true;
    this.#pools.acquire(this.#upstream, this.#admission.params, this.#waiter, url);
    return true;
  }

  /** No node can take the request: true when the waiter hears of one of another upstream, or the answer in its place. */
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
