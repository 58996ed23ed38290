/** Chooses the node of an upstream for a request, and the next one when the first cannot be reached. */

import { type Deadlines, Expiring } from '../core/deadlines.ts';
import { type Denial, deny } from '../core/denial.ts';
import type { Upstream } from '../policy/policy.ts';
import type { NodeConnection, NodeContext } from './node-connection.ts';
import { NodePool } from './node-pool.ts';
import type { NodeTlsContexts, SecuredBy } from './node-tls.ts';
import type { NodeFault } from './response-listener.ts';

/** Gets a connection that may take a request, or the reason why there is none. */
export interface NodeWaiter {
  onNode(connection: NodeConnection, node: string): void;
  onNoNode(denial: Denial): void;
}

/** Requests that wait for an upstream's connections, at most; beyond, waiting would only be failing later. */
const QUEUE_LENGTH = 1024;

/** Nodes asked for one request: the chosen one and, when it cannot be connected to, one more. */
const ATTEMPTS = 2;

/** Never in the clear instead. */
const UNSECURED: NodeFault = { kind: 'refused', reason: 'the files of its tls cannot be used' };

/** The pools of every upstream in use. An upstream whose policy changed gets new pools; the old ones run dry. */
export class UpstreamPools {
  readonly #context: NodeContext;
  readonly #tls: NodeTlsContexts;
  readonly #pools = new Map<Upstream, Balancer>();

  constructor(context: NodeContext, tls: NodeTlsContexts) {
    this.#context = context;
    this.#tls = tls;
  }

  /** Finds a connection for one request. Nothing is sent before it is there, so trying again is safe. */
  acquire(upstream: Upstream, waiter: NodeWaiter): void {
    let balancer = this.#pools.get(upstream);
    if (balancer === undefined) {
      balancer = new Balancer(upstream, this.#context);
      this.#pools.set(upstream, balancer);
    }
    const found = balancer.secure ? this.#tls.find(upstream) : undefined;
    if (!(found instanceof Promise)) balancer.acquire(waiter, found);
    else void found.then((securedBy) => balancer.acquire(waiter, securedBy));
  }

  /** Forgets the pools of upstreams that are no longer in the policy and closes their idle connections. */
  retain(upstreams: ReadonlySet<Upstream>): void {
    for (const [upstream, balancer] of [...this.#pools]) {
      if (upstreams.has(upstream)) continue;
      this.#pools.delete(upstream);
      balancer.closeIdle();
    }
  }
}

/** A request that waits for a connection to be free, as long as one may take to be made. */
class Queued extends Expiring {
  readonly waiter: NodeWaiter;
  readonly #onExpired: (queued: Queued) => void;

  constructor(waiter: NodeWaiter, onExpired: (queued: Queued) => void) {
    super();
    this.waiter = waiter;
    this.#onExpired = onExpired;
  }

  override expire(): void {
    this.#onExpired(this);
  }
}

/** The pools of one upstream, one a node, and the requests that wait while all of them are full. */
class Balancer {
  readonly #upstream: Upstream;
  readonly #deadlines: Deadlines;
  readonly #pools: readonly NodePool[];
  readonly #queue = new Set<Queued>();
  /** Some nodes are spoken to over TLS. */
  readonly secure: boolean;
  #securedBy: SecuredBy | undefined;
  #turn = 0;

  constructor(upstream: Upstream, context: NodeContext) {
    this.#upstream = upstream;
    this.secure = upstream.nodes.some((node) => node.secure);
    this.#deadlines = context.deadlines;
    const onFree = (): void => this.#serveQueue();
    this.#pools = upstream.nodes.map((node) => new NodePool(node, upstream, context, onFree));
  }

  /** `securedBy`: what new connections are secured by; nothing when the files for it cannot be used. */
  acquire(waiter: NodeWaiter, securedBy: SecuredBy | undefined): void {
    this.#securedBy = securedBy;
    this.#try(waiter, ATTEMPTS, new Set());
  }

  closeIdle(): void {
    for (const pool of this.#pools) pool.closeIdle();
  }

  /** A request that has tried a node already does not wait: its caller has waited for that node. */
  #try(waiter: NodeWaiter, attempts: number, tried: Set<NodePool>): void {
    const pool = this.#choose(this.#pools.filter((each) => !tried.has(each) && !each.full));
    if (pool === undefined) {
      if (tried.size === 0 && this.#queue.size < QUEUE_LENGTH) this.#enqueue(waiter);
      else waiter.onNoNode(busy());
      return;
    }
    tried.add(pool);
    const onConnectFault = (fault: NodeFault): void => {
      if (attempts > 1 && tried.size < this.#pools.length) this.#try(waiter, attempts - 1, tried);
      else waiter.onNoNode(unreachable(fault, pool.node.url));
    };
    const onConnection = (connection: NodeConnection): void => waiter.onNode(connection, pool.node.url);
    const securedBy = pool.node.secure ? this.#securedBy : undefined;
    if (pool.node.secure && securedBy === undefined) onConnectFault(UNSECURED);
    else pool.acquire({ onConnection, onConnectFault }, securedBy);
  }

  #enqueue(waiter: NodeWaiter): void {
    const queued = new Queued(waiter, (expired) => {
      this.#queue.delete(expired);
      waiter.onNoNode(busy());
    });
    this.#queue.add(queued);
    this.#deadlines.arm(queued, this.#upstream.connectMs);
  }

  /** First come, first served. */
  #serveQueue(): void {
    for (const queued of this.#queue) {
      if (this.#pools.every((pool) => pool.full)) return;
      this.#queue.delete(queued);
      this.#deadlines.disarm(queued);
      this.#try(queued.waiter, ATTEMPTS, new Set());
    }
  }

  #choose(pools: readonly NodePool[]): NodePool | undefined {
    if (pools.length < 2) return pools[0];
    if (this.#upstream.balance === 'roundRobin') {
      this.#turn += 1;
      return pools[this.#turn % pools.length];
    }
    return leastBusyOfTwo(pools);
  }
}

/**
 * The less busy of two nodes drawn at random: nearly as even as asking all of them, and no herd runs to the one
 * that looked idle a moment ago (Mitzenmacher, "The power of two choices in randomized load balancing", 2001).
 */
function leastBusyOfTwo(pools: readonly NodePool[]): NodePool | undefined {
  const first = Math.floor(Math.random() * pools.length);
  const second = (first + 1 + Math.floor(Math.random() * (pools.length - 1))) % pools.length;
  const [a, b] = [pools[first], pools[second]];
  return a !== undefined && b !== undefined && b.active < a.active ? b : a;
}

function busy(): Denial {
  return deny('node', 'node-unavailable', 'Every node is busy.', { retryAfterS: 1 });
}

function unreachable(fault: NodeFault, url: string): Denial {
  const cause = `${url}: ${fault.reason}`;
  return fault.kind === 'timeout'
    ? deny('node', 'node-timeout', 'No node could be connected to in time.', { cause })
    : deny('node', 'node-unavailable', 'No node could be connected to.', { cause, retryAfterS: 1 });
}
