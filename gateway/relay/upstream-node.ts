/** One node as written in the policy: its addresses, given or looked up, and whether it is drained. */

import { isIP } from 'node:net';
import type { NodeAddress } from '../policy/upstream.ts';
import type { BreakerState } from './node-breaker.ts';
import { type Lookup, NodeResolver } from './node-resolver.ts';
import type { OwningNode, Target, TargetState } from './target.ts';

/** What a node needs from its upstream. */
export interface NodeOwner {
  readonly lookup: Lookup;
  newTarget(parent: OwningNode, address: string, isNew: boolean): Target;
  /** Its addresses have changed. */
  onAddresses(): void;
  onUnresolved(node: string, reason: string): void;
}

/** A node as the admin listener shows it. */
export interface NodeStatus {
  readonly node: string;
  readonly weight: number;
  /** The best state of its addresses; `unresolved` if it has none. */
  readonly state: TargetState | 'unresolved';
  readonly drained: boolean;
  readonly addresses: readonly {
    readonly address: string;
    readonly state: TargetState;
    readonly breaker: BreakerState;
    readonly active: number;
  }[];
}

/** From best to worst. */
const STATES = ['ready', 'busy', 'resting', 'ejected', 'down', 'drained'] as const;
const BREAKER_STATES = ['closed', 'half-open', 'open'] as const;

export class UpstreamNode implements OwningNode {
  node: NodeAddress;
  drained = false;
  targets: readonly Target[] = [];
  readonly #owner: NodeOwner;
  #resolver: NodeResolver | undefined;

  /** `isNew`: added by a reload, so it starts slowly. */
  constructor(node: NodeAddress, resolveMs: number, owner: NodeOwner, isNew: boolean) {
    this.node = node;
    this.#owner = owner;
    if (isIP(node.host) !== 0) this.targets = [owner.newTarget(this, node.host, isNew)];
    else this.follow(resolveMs, isNew);
  }

  /** Its name has been looked up, or it is written as an address. */
  get isSettled(): boolean {
    return this.#resolver?.isFirst !== true;
  }

  /** 1 while at least one address is up. */
  get up(): 0 | 1 {
    return this.targets.some((target) => target.isUp) ? 1 : 0;
  }

  /** The best breaker state of its addresses: 0 closed, 1 half open, 2 open; 0 without addresses. */
  get breaker(): number {
    return this.targets.length === 0
      ? 0
      : Math.min(...this.targets.map((target) => BREAKER_STATES.indexOf(target.breaker)));
  }

  get status(): NodeStatus {
    const addresses = this.targets.map(({ address, state, breaker, active }) => ({
      address,
      state,
      breaker,
      active,
    }));
    const state = STATES.find((each) => addresses.some((address) => address.state === each)) ?? 'unresolved';
    const { url, weight } = this.node;
    return { node: url, weight, state, drained: this.drained, addresses };
  }

  /** Looks up its name every `resolveMs` from now on. Does nothing for an address. */
  follow(resolveMs: number, isNew: boolean): void {
    const { host, url } = this.node;
    if (isIP(host) !== 0) return;
    let startsSlowly = isNew;
    this.#resolver?.close();
    this.#resolver = new NodeResolver({
      host,
      periodMs: resolveMs,
      lookup: this.#owner.lookup,
      onAddresses: (addresses) => {
        this.#take(addresses, startsSlowly);
        startsSlowly = true;
      },
      onFault: (reason) => this.#owner.onUnresolved(url, reason),
    });
  }

  /** Replaces its targets after a change of settings; the addresses stay. */
  renew(): void {
    const addresses = this.targets.map(({ address }) => address);
    this.#replace(() => undefined, addresses, false);
  }

  setDrained(drained: boolean): void {
    if (this.drained && !drained) {
      for (const target of this.targets) target.startSlowly();
    }
    this.drained = drained;
  }

  close(): void {
    this.#resolver?.close();
    for (const target of this.targets) target.close();
  }

  /** Addresses that stay keep their connections; those of an address that is gone close after their request. */
  #take(addresses: readonly string[], isNew: boolean): void {
    const known = this.targets;
    this.#replace((address) => known.find((target) => target.address === address), addresses, isNew);
    this.#owner.onAddresses();
  }

  #replace(
    kept: (address: string) => Target | undefined,
    addresses: readonly string[],
    isNew: boolean,
  ): void {
    const before = this.targets;
    this.targets = addresses.map((address) => kept(address) ?? this.#owner.newTarget(this, address, isNew));
    for (const target of before) if (!this.targets.includes(target)) target.close();
  }
}
