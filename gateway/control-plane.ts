/** The control plane: follows the policy's sources, serves the admin listener, and controls the data planes. */

import type { LiveLimits } from './limits/live-limits.ts';
import { type Admin, createAdmin } from './observe/admin.ts';
import type { Metrics, MetricsText } from './observe/metrics.ts';
import type { HostPort } from './policy/gateway-settings.ts';
import type { ReloadOutcome } from './policy/live.ts';
import type { PolicyFollower } from './policy-follower.ts';
import type { UpstreamStatus } from './relay/upstream-pools.ts';

/** The data planes of a gateway: one in this process, or several in processes of their own. */
export interface DataPlanes {
  /** Opens the listeners. Resolves to the bound address of each, by name. Rejects if an address cannot be bound. */
  listen(): Promise<ReadonlyMap<string, HostPort>>;
  /** Every data plane accepts connections, and none is silent. */
  readonly isAccepting: boolean;
  /** The members they add to `/policy`. */
  readonly status: object;
  /** Called after a reload. Resolves when all data planes decide by the new policy. */
  reloaded(): Promise<void>;
  /** Updates the metrics of the gateway with what they counted. */
  observe(): Promise<void>;
  nodes(): Promise<readonly UpstreamStatus[]>;
  /** A drained node gets no new requests. Resolves to false if there is no such node. */
  setDrained(upstream: string, node: string, drained: boolean): Promise<boolean>;
  /** Resolves when every connection has ended, or was closed at the end of the drain time. */
  drain(): Promise<void>;
  /** Closes everything at once. */
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

  /** Opens the admin listener. Rejects if its address cannot be bound. */
  listen(): Promise<HostPort> {
    return this.#admin.listen();
  }

  /** Counts limits where the policy says. Resolves when it is known whether that backend answers. */
  followLimits(): Promise<void> {
    return this.#limits.follow(this.#follower.policy().gateway.state);
  }

  /** Resolves when every data plane decides by the new policy. */
  async reload(): Promise<ReloadOutcome> {
    const outcome = await this.#follower.reload();
    await this.#planes.reloaded();
    return outcome;
  }

  /** Called when the data planes drain: leaves the admin address to another gateway that is bound to it, if any. */
  yieldAdmin(): Promise<void> {
    return this.#admin.yield();
  }

  /** Stops following the sources, and closes the admin listener. */
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
