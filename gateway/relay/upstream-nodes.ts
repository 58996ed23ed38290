/** The nodes of one upstream: chooses one for each request, and queues or refuses requests that none can take. */

import { firstForKey, hashOf, lessBusyOfTwo, nextInTurn } from '../core/balance.ts';
import { type Denial, deny } from '../core/denial.ts';
import { fillTemplate } from '../core/path-template.ts';
import type { RouteParams } from '../core/route-table.ts';
import type { NodeAddress, Upstream } from '../policy/upstream.ts';
import { NodeRequest, type NodeWaiter, type RequestRouter } from './node-request.ts';
import type { Lookup } from './node-resolver.ts';
import type { SecuredBy } from './node-tls.ts';
import type { NodeFault } from './response-listener.ts';
import {
  type OwningNode,
  Target,
  type TargetChange,
  type TargetContext,
  type TargetOwner,
} from './target.ts';
import { type NodeOwner, UpstreamNode } from './upstream-node.ts';

/** A change of a node's state, for the log. */
export interface NodeChange extends Omit<TargetChange, 'address' | 'change'> {
  /** `tenant/upstream`. */
  readonly upstream: string;
  readonly address?: string;
  readonly change: TargetChange['change'] | 'unresolved' | 'drained' | 'resumed';
}

export interface UpstreamContext extends TargetContext {
  readonly lookup: Lookup;
  readonly onChange: (change: NodeChange) => void;
  /** How to secure connections to the nodes of an upstream now; undefined if its TLS files cannot be used. */
  readonly secured: (upstream: Upstream) => SecuredBy | Promise<SecuredBy | undefined> | undefined;
}

/** Limit on requests waiting for a node of an upstream; beyond it, waiting would only fail later. */
const QUEUE_LENGTH = 1024;

/** Never falls back to plain text. */
const UNSECURED: NodeFault = { kind: 'refused', reason: 'its TLS files cannot be used' };

export class UpstreamNodes implements RequestRouter, NodeOwner, TargetOwner {
  /** `tenant/upstream`. */
  readonly name: string;
  readonly lookup: Lookup;
  readonly #context: UpstreamContext;
  #upstream: Upstream;
  #nodes: readonly UpstreamNode[];
  #targets: readonly Target[] = [];
  readonly #queue = new Set<NodeRequest>();
  #isServing = false;
  /** Some nodes are reached over TLS. */
  #isSecure = false;
  #securedBy: SecuredBy | undefined;

  constructor(upstream: Upstream, context: UpstreamContext) {
    this.name = `${upstream.tenant}/${upstream.name}`;
    this.lookup = context.lookup;
    this.#context = context;
    this.#upstream = upstream;
    this.#nodes = upstream.nodes.map((node) => this.#newNode(node, false));
    this.#gather();
  }

  get nodes(): readonly UpstreamNode[] {
    return this.#nodes;
  }

  get balance(): Upstream['balance'] {
    return this.#upstream.balance;
  }

  /** Nodes that stay keep their state, unless settings of their connections, breakers or checks change. */
  update(upstream: Upstream): void {
    const before = this.#upstream;
    const known = new Map(this.#nodes.map((node) => [node.node.url, node]));
    this.#upstream = sameTls(before, upstream) ? { ...upstream, tls: before.tls } : upstream;
    const isSame = treatmentOf(before) === treatmentOf(upstream);
    this.#nodes = upstream.nodes.map((address) => {
      const node = known.get(address.url);
      if (node === undefined) return this.#newNode(address, true);
      known.delete(address.url);
      node.node = address;
      if (before.resolveMs !== upstream.resolveMs) node.follow(upstream.resolveMs, true);
      if (!isSame) node.renew();
      return node;
    });
    for (const gone of known.values()) gone.close();
    this.onAddresses();
  }

  /** Finds a connection for one request. `avoid`: URL of a node to use only if no other is ready. */
  acquire(params: RouteParams, waiter: NodeWaiter, avoid?: string): void {
    const { balance, hashOn } = this.#upstream;
    const key = balance === 'hash' ? hashOf(fillTemplate(hashOn, params)) : 0;
    const request = new NodeRequest(this, waiter, key, avoid);
    if (avoid !== undefined) {
      for (const target of this.#targets) if (target.url === avoid) target.dropKept();
    }
    const secured = this.#isSecure ? this.secured() : undefined;
    if (!(secured instanceof Promise)) this.#begin(request, secured);
    else void secured.then((securedBy) => this.#begin(request, securedBy));
  }

  /** Drains or resumes a node. Returns false if there is no node with that URL. */
  setDrained(url: string, drained: boolean): boolean {
    const node = this.#nodes.find((each) => each.node.url === url);
    if (node === undefined) return false;
    if (node.drained !== drained)
      this.#context.onChange({ upstream: this.name, node: url, change: drained ? 'drained' : 'resumed' });
    node.setDrained(drained);
    this.onFree();
    return true;
  }

  /** Stops timers and checks, closes idle connections and refuses waiting requests; running ones finish. */
  close(): void {
    for (const node of this.#nodes) node.close();
    for (const request of this.#queue) {
      this.#dequeue(request);
      request.waiter.onNoNode(deny('node', 'node-unavailable', 'No node can take requests.'));
    }
  }

  readonly secured = (): ReturnType<UpstreamContext['secured']> => this.#context.secured(this.#upstream);

  newTarget(parent: OwningNode, address: string, isNew: boolean): Target {
    return new Target(parent, address, this.#upstream, this.#context, this, isNew);
  }

  onAddresses(): void {
    this.#gather();
    this.onFree();
  }

  onUnresolved(node: string, reason: string): void {
    this.#context.onChange({ upstream: this.name, node, change: 'unresolved', reason });
    this.onFree();
  }

  onChange(change: TargetChange): void {
    this.#context.onChange({ upstream: this.name, ...change });
  }

  mayEject(): boolean {
    const out = this.#targets.filter((target) => target.isEjected).length;
    return (out + 1) * 100 <= (this.#upstream.ejection?.maxShare ?? 0) * this.#targets.length;
  }

  /** Serves waiting requests. Serving one may free its node at once: the running loop goes on, without recursion. */
  onFree(): void {
    if (this.#queue.size === 0 || this.#isServing) return;
    this.#isServing = true;
    try {
      this.#serve();
    } finally {
      this.#isServing = false;
    }
  }

  onUnreachable(request: NodeRequest, target: Target, fault: NodeFault): void {
    const next = request.tried === undefined ? this.#choose(request, target) : undefined;
    request.tried = target;
    if (next === undefined) request.waiter.onNoNode(unreachable(fault, target.url));
    else this.#send(request, next);
  }

  onWaitedInVain(request: NodeRequest): void {
    this.#queue.delete(request);
    request.waiter.onNoNode(this.#unavailable());
  }

  /** First come, first served. Refuses requests if no node will be free soon. */
  #serve(): void {
    for (const request of this.#queue) {
      const target = this.#choose(request);
      if (target === undefined && this.#mayWait()) return;
      this.#dequeue(request);
      if (target === undefined) request.waiter.onNoNode(this.#unavailable());
      else this.#send(request, target);
    }
  }

  #newNode(node: NodeAddress, isNew: boolean): UpstreamNode {
    return new UpstreamNode(node, this.#upstream.resolveMs, this, isNew);
  }

  #gather(): void {
    this.#targets = this.#nodes.flatMap((node) => node.targets);
    this.#isSecure = this.#nodes.some(({ node }) => node.secure);
  }

  #begin(request: NodeRequest, securedBy: SecuredBy | undefined): void {
    this.#securedBy = securedBy;
    const target = this.#choose(request);
    if (target !== undefined) this.#send(request, target);
    else if (this.#mayWait() && this.#queue.size < QUEUE_LENGTH) this.#enqueue(request);
    else request.waiter.onNoNode(this.#unavailable());
  }

  #send(request: NodeRequest, target: Target): void {
    request.target = target;
    const securedBy = target.secure ? this.#securedBy : undefined;
    if (target.secure && securedBy === undefined) request.onConnectFault(UNSECURED);
    else target.acquire(request, securedBy);
  }

  #choose(request: NodeRequest, except?: Target): Target | undefined {
    const ready = this.#ready(except, request.avoid);
    const choices = ready.length > 0 || request.avoid === undefined ? ready : this.#ready(except, undefined);
    if (this.#upstream.balance === 'roundRobin') return nextInTurn(choices);
    if (this.#upstream.balance === 'hash') return firstForKey(choices, request.key);
    return lessBusyOfTwo(choices, Math.random);
  }

  #ready(except: Target | undefined, avoid: string | undefined): readonly Target[] {
    const targets = this.#targets;
    for (const target of targets)
      if (!isReady(target, except, avoid)) return targets.filter((each) => isReady(each, except, avoid));
    return targets;
  }

  /** Some node is busy and may be free soon, or its first look-up is still running. */
  #mayWait(): boolean {
    return (
      this.#targets.some((target) => target.state === 'busy') || this.#nodes.some((node) => !node.isSettled)
    );
  }

  #enqueue(request: NodeRequest): void {
    this.#queue.add(request);
    this.#context.deadlines.arm(request, this.#upstream.connectMs);
  }

  #dequeue(request: NodeRequest): void {
    this.#queue.delete(request);
    this.#context.deadlines.disarm(request);
  }

  #unavailable(): Denial {
    const cause = this.#nodes.map(({ status }) => `${status.node}: ${status.state}`).join(', ');
    if (this.#mayWait())
      return deny('node', 'node-unavailable', 'Every node is busy.', { cause, retryAfterS: 1 });
    const resting = this.#targets.filter((target) => target.state === 'resting');
    const back = resting.length > 0 ? resting : this.#targets;
    const waitMs = Math.min(...back.map((target) => target.waitMs));
    const retryAfterS = Math.max(1, Math.ceil((Number.isFinite(waitMs) ? waitMs : 0) / 1000));
    return resting.length > 0
      ? deny('node', 'breaker-open', 'No node can take requests: circuit breakers are open.', {
          cause,
          retryAfterS,
        })
      : deny('node', 'node-unavailable', 'No node can take requests.', { cause, retryAfterS });
  }
}

function isReady(target: Target, except: Target | undefined, avoid: string | undefined): boolean {
  return target.state === 'ready' && target !== except && target.url !== avoid;
}

/** The settings that connections, breakers and checks depend on, as a comparable text. */
function treatmentOf(upstream: Upstream): string {
  const { name, tenant, nodes, balance, hashOn, resolveMs, ...treatment } = upstream;
  return JSON.stringify(treatment);
}

function sameTls(a: Upstream, b: Upstream): boolean {
  return JSON.stringify(a.tls) === JSON.stringify(b.tls);
}

function unreachable(fault: NodeFault, url: string): Denial {
  const cause = `${url}: ${fault.reason}`;
  return fault.kind === 'timeout'
    ? deny('node', 'node-timeout', 'No node could be reached in time.', { cause })
    : deny('node', 'node-unavailable', 'No node could be reached.', { cause, retryAfterS: 1 });
}
