/** One address of a node: its connections, and everything that decides whether it gets a request. */

import { type Choice, seedOf } from '../core/balance.ts';
import { shareOf } from '../core/share.ts';
import type { NodeAddress, Upstream } from '../policy/upstream.ts';
import type { NodeContext } from './destination.ts';
import { Ejection } from './ejection.ts';
import { HealthCheck } from './health-check.ts';
import { type BreakerState, type BreakerWindows, NodeBreaker } from './node-breaker.ts';
import { type ConnectionWaiter, NodePool } from './node-pool.ts';
import type { SecuredBy } from './node-tls.ts';
import { type NodeRecord, RequestWatch } from './request-watch.ts';

/**
 * `ready`: takes requests; `busy`: has as many as allowed; `resting`: its breaker admits none; `ejected`: too many
 * requests in a row failed; `down`: its health checks fail; `drained`: an operator drained the node. Ordered from best
 * to worst: the worst that applies is the state.
 */
export type TargetState = 'ready' | 'busy' | 'resting' | 'ejected' | 'down' | 'drained';

/** The node an address belongs to. */
export interface OwningNode {
  readonly node: NodeAddress;
  /** It gets no new request. */
  readonly drained: boolean;
}

/** A change of an address's state, for the log. */
export interface TargetChange {
  readonly node: string;
  readonly address: string;
  readonly change: 'up' | 'down' | 'ejected' | `breaker ${BreakerState}`;
  readonly reason?: string;
}

/** The upstream an address belongs to. */
export interface TargetOwner {
  readonly secured: () => SecuredBy | Promise<SecuredBy | undefined> | undefined;
  /** Whether one more address may be ejected. */
  mayEject(): boolean;
  /** Its state may have changed: waiting requests should be looked at again. */
  onFree(): void;
  onChange(change: TargetChange): void;
}

export interface TargetContext extends NodeContext {
  readonly windows: BreakerWindows;
  /** Processes that share the nodes, this one included; each takes an equal share of the limits. Default 1. */
  readonly processes?: number;
}

/** The share of its weight a slow start begins with. Not 0: a node must get requests to prove itself. */
const FIRST_SHARE = 0.1;

export class Target implements Choice, NodeRecord {
  readonly address: string;
  readonly seed: number;
  turn = 0;
  readonly #parent: OwningNode;
  readonly #settings: Upstream;
  readonly #context: TargetContext;
  readonly #owner: TargetOwner;
  readonly #pool: NodePool;
  readonly #breaker: NodeBreaker;
  readonly #health: HealthCheck | undefined;
  readonly #ejection: Ejection | undefined;
  /** Requests that wait for its first byte. */
  #owed = 0;
  #sinceMs = Number.NEGATIVE_INFINITY;

  /** `isNew`: starts slowly. */
  constructor(
    parent: OwningNode,
    address: string,
    whole: Upstream,
    context: TargetContext,
    owner: TargetOwner,
    isNew: boolean,
  ) {
    const settings = shared(whole, context.processes ?? 1);
    const { node } = parent;
    this.#parent = parent;
    this.address = address;
    this.seed = seedOf(`${node.url} ${address}`);
    this.#settings = settings;
    this.#context = context;
    this.#owner = owner;
    const { deadlines, windows } = context;
    const newWatch = (): RequestWatch => new RequestWatch(this, deadlines, settings.breaker.timeoutMs);
    this.#pool = new NodePool({ node, address }, settings, context, newWatch, () => owner.onFree());
    this.#breaker = new NodeBreaker(settings.breaker, windows, (state) => this.#onBreaker(state));
    if (settings.ejection !== undefined) this.#ejection = new Ejection(settings.ejection);
    if (settings.health !== undefined) {
      const checked = { node, address, secured: owner.secured };
      this.#health = new HealthCheck(checked, settings.health, context, (isWell, reason) =>
        this.#onHealth(isWell, reason),
      );
    }
    if (isNew) this.startSlowly();
  }

  /** The node's URL as written in the policy. */
  get url(): string {
    return this.#parent.node.url;
  }

  get secure(): boolean {
    return this.#parent.node.secure;
  }

  get active(): number {
    return this.#pool.active;
  }

  get weight(): number {
    const { weight } = this.#parent.node;
    const { slowStartMs } = this.#settings;
    if (slowStartMs === 0) return weight;
    const sinceMs = Math.max(this.#sinceMs, this.#ejection?.untilMs ?? Number.NEGATIVE_INFINITY);
    const share = (this.#context.deadlines.nowMs - sinceMs) / slowStartMs;
    return weight * Math.min(1, Math.max(FIRST_SHARE, share));
  }

  get state(): TargetState {
    const { nowMs } = this.#context.deadlines;
    if (this.#parent.drained) return 'drained';
    if (this.#health?.isWell === false) return 'down';
    if (this.#ejection?.isOut(nowMs) === true) return 'ejected';
    if (!this.#breaker.admits(nowMs)) return 'resting';
    return this.#pool.full || this.#owed >= this.#settings.breaker.maxConcurrent ? 'busy' : 'ready';
  }

  /** Neither down nor ejected, whether or not it gets requests. */
  get isUp(): boolean {
    return this.#health?.isWell !== false && this.#ejection?.isOut(this.#context.deadlines.nowMs) !== true;
  }

  get isEjected(): boolean {
    return this.#ejection?.isOut(this.#context.deadlines.nowMs) === true;
  }

  get breaker(): BreakerState {
    return this.#breaker.state;
  }

  /** Milliseconds until it may take requests again, as far as known. */
  get waitMs(): number {
    const { health, ejection } = this.#settings;
    if (this.#health?.isWell === false) return health?.intervalMs ?? 0;
    const ejectedMs =
      ejection === undefined ? 0 : (this.#ejection?.untilMs ?? 0) - this.#context.deadlines.nowMs;
    return Math.max(0, ejectedMs, this.#breaker.restMs);
  }

  /** Its state must be `ready`. */
  acquire(waiter: ConnectionWaiter, securedBy: SecuredBy | undefined): void {
    this.#pool.acquire(waiter, securedBy);
  }

  startSlowly(): void {
    this.#sinceMs = this.#context.deadlines.nowMs;
  }

  /** Closes the idle connections: one was found closed, so the others probably are too. */
  dropKept(): void {
    this.#pool.closeIdle();
  }

  /** Takes no new requests; running ones finish. */
  close(): void {
    this.#health?.close();
    this.#breaker.shutDown();
    this.#pool.retire();
  }

  entered(request: RequestWatch): void {
    this.#breaker.entered(request, this.#context.deadlines.nowMs);
  }

  owes(change: 1 | -1): void {
    this.#owed += change;
    if (change < 0) this.#owner.onFree();
  }

  answered(request: RequestWatch): void {
    this.#breaker.succeeded(request);
  }

  ended(): void {
    this.#ejection?.succeeded();
  }

  failed(request: RequestWatch, reason: string): void {
    this.#breaker.failed(request);
    const { nowMs } = this.#context.deadlines;
    if (this.#ejection?.failed(nowMs, () => this.#owner.mayEject()) === true) this.#tell('ejected', reason);
    this.#owner.onFree();
  }

  left(request: RequestWatch): void {
    this.#breaker.left(request);
  }

  #onHealth(isWell: boolean, reason: string): void {
    if (isWell) this.startSlowly();
    this.#tell(isWell ? 'up' : 'down', reason);
    this.#owner.onFree();
  }

  #onBreaker(state: BreakerState): void {
    if (state === 'closed') this.startSlowly();
    this.#tell(`breaker ${state}`);
    this.#owner.onFree();
  }

  #tell(change: TargetChange['change'], reason?: string): void {
    const { url, address } = this;
    this.#owner.onChange({ node: url, address, change, ...(reason !== undefined && { reason }) });
  }
}

/** The settings with one process's share of the limits. */
function shared(whole: Upstream, processes: number): Upstream {
  const { breaker, maxConnections } = whole;
  return {
    ...whole,
    maxConnections: shareOf(maxConnections, processes),
    breaker: { ...breaker, maxConcurrent: shareOf(breaker.maxConcurrent, processes) },
  };
}
