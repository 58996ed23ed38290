/** The upstreams of the policy in force. Their nodes survive reloads as long as the policy names them. */

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
  /** Processes that share the nodes, each with its own pools. Default 1. */
  readonly processes?: number;
  readonly onChange: (change: NodeChange) => void;
}

/** An upstream as the admin listener shows it. */
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
  /** Lets requests decided by an older policy find their nodes. */
  readonly #known = new WeakMap<Upstream, UpstreamNodes>();

  constructor({ tls, ...options }: UpstreamPoolsOptions) {
    this.#context = { ...options, windows: this.#windows, secured: (upstream) => tls.find(upstream) };
  }

  /** Replaces the upstreams; those no longer given are closed. */
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

  /**
   * Finds a connection for one request. Nothing is sent before there is one, so trying again is safe. Throws for an
   * upstream that was never passed to `follow`.
   */
  acquire(upstream: Upstream, params: RouteParams, waiter: NodeWaiter, avoid?: string): void {
    const nodes = this.#known.get(upstream);
    if (nodes === undefined) throw new Error(`unknown upstream ${upstream.name}`);
    nodes.acquire(params, waiter, avoid);
  }

  get statuses(): readonly UpstreamStatus[] {
    return [...this.#current.values()].map(({ name, balance, nodes }) => ({
      upstream: name,
      balance,
      nodes: nodes.map(({ status }) => status),
    }));
  }

  /** The nodes as the metrics show them. */
  get gauges(): readonly NodeState[] {
    return [...this.#current.values()].flatMap(({ name, nodes }) =>
      nodes.map(({ node, up, breaker }) => ({ upstream: name, node: node.url, up, breaker })),
    );
  }

  /** Drains or resumes a node: a drained one gets no new requests. Returns false if it is not known. */
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
