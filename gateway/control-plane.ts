/** The control plane: the policy's sources, what the admin listener tells and does, and the data planes it speaks for. */

import type { LiveLimits } from './limits/live-limits.ts';
import { type Admin, createAdmin } from './observe/admin.ts';
import type { Metrics, MetricsText } from './observe/metrics.ts';
import type { HostPort } from './policy/gateway-settings.ts';
import type { ReloadOutcome } from './policy/live.ts';
import type { PolicyFollower } from './policy-follower.ts';
import type { UpstreamStatus } from './relay/upstream-pools.ts';

/** The data planes of a gateway, be it one in this process or several in processes of their own. */
export interface DataPlanes {
  /** Opens the listeners; resolves to where each is bound, by its name. Rejects when an address cannot be had. */
  listen(): Promise<ReadonlyMap<string, HostPort>>;
  /** Every one of them takes connections, and was heard of lately. */
  readonly isAccepting: boolean;
  /** Members of `/policy` that are theirs. */
  readonly status: object;
  /** The policy was read again; resolves when all decide by what was read. */
  reloaded(): Promise<void>;
  /** Brings what they count into the metrics of the gateway. */
  observe(): Promise<void>;
  nodes(): Promise<readonly UpstreamStatus[]>;
  /** A drained node gets no new request; false where there is none of that name. */
  setDrained(upstream: string, node: string, drained: boolean): Promise<boolean>;
  /** Resolves when every connection has ended, or the drain time is over and they were broken off. */
  drain(): Promise<void>;
  /** Breaks off everything. */
  stopNow(): void;
}

export interface ControlPlaneOptions {
  readonly follower: PolicyFollower;
  readonly planes: DataPlanes;
  readonly metrics: Metrics;
  readonly limits: LiveLimits;
}

export class ControlPlane {
  readonly #follower: PolicyFollower;
  readonly #planes: DataPlanes;
  readonly #metrics: Metrics;
  readonly #limits: LiveLimits;
  readonly #admin: Admin;

  constructor({ follower, planes, metrics, limits }: ControlPlaneOptions) {
    this.#follower = follower;
    this.#planes = planes;
    this.#metrics = metrics;
    this.#limits = limits;
    follower.onChange((change) => {
      if (change === 'policy') void this.followLimits();
    });
    this.#admin = createAdmin({
      address: follower.policy().gateway.admin,
      metricsText: (accept) => this.#metricsText(accept),
      certificates: () => follower.certificates(),
      policyStatus: () => this.#status(),
      nodes: () => planes.nodes(),
      setDrained: (upstream, node, drained) => planes.setDrained(upstream, node, drained),
      ready: () => planes.isAccepting && follower.isReady,
      reload: async () => ({ successful: (await this.reload()).successful, ...this.#status() }),
    });
  }

  /** Opens the admin listener. Rejects when its address cannot be had. */
  listen(): Promise<HostPort> {
    return this.#admin.listen();
  }

  /** Limits are counted where the policy says; resolves when it is known whether that answers. */
  followLimits(): Promise<void> {
    return this.#limits.follow(this.#follower.policy().gateway.state);
  }

  /** Resolves when every data plane decides by what was read. */
  async reload(): Promise<ReloadOutcome> {
    const outcome = await this.#follower.reload();
    await this.#planes.reloaded();
    return outcome;
  }

  /** The data planes drain: if another gateway has the admin address too, it answers alone. */
  yieldAdmin(): Promise<void> {
    return this.#admin.yield();
  }

  /** Nothing is followed and nothing answered any more. */
  close(): void {
    this.#follower.close();
    this.#limits.close();
    void this.#admin.close();
  }

  async #metricsText(accept?: string): Promise<MetricsText> {
    this.#follower.observe();
    this.#limits.observe(this.#metrics);
    await this.#planes.observe();
    return this.#metrics.text(accept);
  }

  #status(): object {
    return { ...this.#follower.status, ...this.#planes.status };
  }
}
