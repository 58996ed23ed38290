/** Health checks of one address of a node: schedules probes and counts results in a row. */

import { HealthCount } from '../core/health-count.ts';
import type { HealthSettings, NodeAddress } from '../policy/upstream.ts';
import type { NodeContext } from './destination.ts';
import { HealthProbe } from './health-probe.ts';
import type { SecuredBy } from './node-tls.ts';

export interface CheckedNode {
  readonly node: NodeAddress;
  readonly address: string;
  /** How to secure a connection now; undefined if the TLS files cannot be used. */
  readonly secured: () => SecuredBy | Promise<SecuredBy | undefined> | undefined;
}

/** Varies the interval by up to a tenth either way, so that nodes are not all checked at once. */
const JITTER = 0.1;

/** Runs from construction until `close`. */
export class HealthCheck {
  readonly #checked: CheckedNode;
  readonly #settings: HealthSettings;
  readonly #context: NodeContext;
  readonly #onChange: (isWell: boolean, reason: string) => void;
  readonly #count: HealthCount;
  #timer: NodeJS.Timeout | undefined;
  #probe: HealthProbe | undefined;
  #closed = false;

  constructor(
    checked: CheckedNode,
    settings: HealthSettings,
    context: NodeContext,
    onChange: (isWell: boolean, reason: string) => void,
  ) {
    this.#checked = checked;
    this.#settings = settings;
    this.#context = context;
    this.#onChange = onChange;
    this.#count = new HealthCount(settings);
    this.#wait(Math.random() * JITTER * settings.intervalMs);
  }

  get isWell(): boolean {
    return this.#count.isWell;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#probe?.cancel();
  }

  #wait(ms: number): void {
    this.#timer = setTimeout(() => void this.#check(), ms).unref();
  }

  async #check(): Promise<void> {
    const { node, address, secured } = this.#checked;
    const securedBy = node.secure ? await secured() : undefined;
    if (this.#closed) return;
    if (node.secure && securedBy === undefined) {
      this.#take('its TLS files cannot be used');
      return;
    }
    const settings = { to: { node, address, securedBy }, health: this.#settings };
    this.#probe = new HealthProbe(settings, this.#context, (fault) => this.#take(fault));
  }

  #take(fault: string | undefined): void {
    this.#probe = undefined;
    this.#wait(this.#settings.intervalMs * (1 - JITTER + 2 * JITTER * Math.random()));
    if (this.#count.count(fault === undefined)) this.#onChange(this.isWell, fault ?? 'health check passed');
  }
}
