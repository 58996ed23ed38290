/** The only data plane of a gateway without workers, in the process of its control plane. */

import type { DataPlanes } from './control-plane.ts';
import type { DataPlane } from './data-plane.ts';
import type { Metrics } from './observe/metrics.ts';
import { processUse } from './observe/process-use.ts';
import type { HostPort } from './policy/gateway-settings.ts';
import type { UpstreamStatus } from './relay/upstream-pools.ts';

export class OwnPlane implements DataPlanes {
  readonly #plane: DataPlane;
  readonly #metrics: Metrics;
  readonly status = {};
  #isAccepting = false;

  /** `metrics` are those that the data plane itself counts in. */
  constructor(plane: DataPlane, metrics: Metrics) {
    this.#plane = plane;
    this.#metrics = metrics;
  }

  get isAccepting(): boolean {
    return this.#isAccepting;
  }

  async listen(): Promise<ReadonlyMap<string, HostPort>> {
    const addresses = await this.#plane.listen();
    this.#isAccepting = true;
    return addresses;
  }

  /** Nothing to do: the data plane was notified of the reload by its sources. */
  async reloaded(): Promise<void> {}

  async observe(): Promise<void> {
    this.#metrics.nodes(this.#plane.nodeGauges);
    this.#metrics.processState(0, { loopDelaySeconds: this.#plane.loopDelaySeconds, use: processUse() });
  }

  async nodes(): Promise<readonly UpstreamStatus[]> {
    return this.#plane.nodes;
  }

  async setDrained(upstream: string, node: string, drained: boolean): Promise<boolean> {
    return this.#plane.setDrained(upstream, node, drained);
  }

  drain(): Promise<void> {
    this.#isAccepting = false;
    return this.#plane.drain();
  }

  stopNow(): void {
    this.#isAccepting = false;
    this.#plane.stopNow();
  }
}
