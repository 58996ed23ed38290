/** The upstreams of the policy in force: their nodes live on across reloads as long as they are in it. */

import type { RouteParams } from '../core/route-table.ts';
import type { NodeState } from '../observe/gauge-states.ts';
import type { Upstream } from '../policy/upstream.ts';
import type { NodeContext } from './destination.ts';
import { BreakerWindows } from './node-breaker.ts';
import type { NodeWaiter } from './node-request.ts';
import type { Lookup } from './node-resolver.ts';
import type { NodeTlsContexts } from './node-tls.ts';
import type { NodeStatus } from './upstream-node.ts';
import { type NodeChange, type UpstreamContext, UpstreamNodes } from './upstream-nodes.ts';

export interface UpstreamPoolsOptions extends NodeContext {
  readonly tls: Pick<NodeTlsContexts, 'find'>;
  readonly lookup: Lookup;
  /** So many share the nodes, each with pools of its own; 1 unless told otherwise. */
  readonly processes?: number;
  readonly onChange: (change: NodeChange) => void;
}

/** An upstream as the admin listener tells of it. */
export interface UpstreamStatus {
  /** `tenant/upstream`. */
  readonly upstream: string;
  readonly balance: Upstream['balance'];
  readonly nodes: readonly NodeStatus[];
}

export class UpstreamPools {
  readonly #windows = new BreakerWindows();
  readonly #context: UpstreamContext;
  /** By `tenant/upstream`. */
  readonly #current = new Map<string, UpstreamNodes>();
  /** Requests that were decided by an older policy find the nodes of theirs. */
  readonly #known = new WeakMap<Upstream, UpstreamNodes>();

  constructor({ tls, ...options }: UpstreamPoolsOptions) {
    this.#context = { ...options, windows: this.#windows, secured: (upstream) => tls.find(upstream) };
  }

  /** From here on these are the upstreams there are. */
  follow(upstreams: Iterable<Upstream>): void {
    const gone = new Map(this.#current);
    for (const upstream of upstreams) {
      const nodes = this.#known.get(upstream) ?? this.#take(upstream);
      gone.delete(nodes.name);
    }
    for (const [name, nodes] of gone) {
      this.#current.delete(name);
      nodes.close();
    }
  }

  /** Finds a connection for one request. Nothing is sent before it is there, so trying again is safe. */
  acquire(upstream: Upstream, params: RouteParams, waiter: NodeWaiter, avoid?: string): void {
    const nodes = this.#known.get(upstream);
    if (nodes === undefined) throw new Error(`nobody follows the upstream ${upstream.name}`);
    nodes.acquire(params, waiter, avoid);
  }

  get statuses(): readonly UpstreamStatus[] {
    return [...this.#current.values()].map(({ name, balance, nodes }) => ({
      upstream: name,
      balance,
      nodes: nodes.map(({ status }) => status),
    }));
  }

  /** Its nodes as metrics tell of them. */
  get gauges(): readonly NodeState[] {
    return [...this.#current.values()].flatMap(({ name, nodes }) =>
      nodes.map(({ node, up, breaker }) => ({ upstream: name, node: node.url, up, breaker })),
    );
  }

  /** A drained node gets no new request; false where there is none of that name. */
  setDrained(upstream: string, node: string, drained: boolean): boolean {
    return this.#current.get(upstream)?.setDrained(node, drained) ?? false;
  }

  close(): void {
    this.follow([]);
    this.#windows.close();
  }

  #take(upstream: Upstream): UpstreamNodes {
    const name = `${upstream.tenant}/${upstream.name}`;
    let nodes = this.#current.get(name);
    if (nodes === undefined) nodes = new UpstreamNodes(upstream, this.#context);
    else nodes.update(upstream);
    this.#current.set(name, nodes);
    this.#known.set(upstream, nodes);
    return nodes;
  }
}
