/** The keep-alive connections to one address of a node, bounded in number. */

import type { Destination, NodeContext } from './destination.ts';
import { NodeConnection } from './node-connection.ts';
import type { SecuredBy } from './node-tls.ts';
import type { RequestWatch } from './request-watch.ts';
import type { ConnectionOwner, NodeFault } from './response-listener.ts';

/** Waits for a connection. Exactly one of the two methods is called, possibly before `acquire` returns. */
export interface ConnectionWaiter {
  onConnection(connection: NodeConnection): void;
  onConnectFault(fault: NodeFault): void;
}

export interface PoolSettings {
  readonly connectMs: number;
  /** Idle connections included. */
  readonly maxConnections: number;
  readonly idleMs: number;
}

/** Hands out idle connections, the most recently used first, and opens new ones up to the limit. */
export class NodePool implements ConnectionOwner {
  readonly #to: Destination;
  readonly #settings: PoolSettings;
  readonly #context: NodeContext;
  readonly #newWatch: () => RequestWatch;
  readonly #onFree: () => void;
  readonly #open = new Set<NodeConnection>();
  readonly #idle: NodeConnection[] = [];
  readonly #waiters = new Map<NodeConnection, ConnectionWaiter>();
  #securedBy: SecuredBy | undefined;
  #retired = false;

  /** `newWatch` creates the watch over one connection's requests; `onFree`: the pool may no longer be full. */
  constructor(
    to: Omit<Destination, 'connectMs' | 'securedBy'>,
    settings: PoolSettings,
    context: NodeContext,
    newWatch: () => RequestWatch,
    onFree: () => void,
  ) {
    this.#to = { ...to, connectMs: settings.connectMs, securedBy: undefined };
    this.#settings = settings;
    this.#context = context;
    this.#newWatch = newWatch;
    this.#onFree = onFree;
  }

  /** Requests running or waiting for their connection. */
  get active(): number {
    return this.#open.size - this.#idle.length;
  }

  /** Every connection is in use and no more may be opened. */
  get full(): boolean {
    return this.#idle.length === 0 && this.#open.size >= this.#settings.maxConnections;
  }

  /**
   * Gives the waiter an idle connection at once, or a new one when it is established. The pool must not be full.
   * Connections secured by anything but `securedBy` finish their request and are not reused.
   */
  acquire(waiter: ConnectionWaiter, securedBy?: SecuredBy): void {
    if (securedBy !== this.#securedBy) {
      this.#securedBy = securedBy;
      this.closeIdle();
    }
    const warm = this.#takeIdle();
    if (warm !== undefined) {
      warm.watch?.taken(true);
      this.#give(warm, waiter);
      return;
    }
    const to = securedBy === undefined ? this.#to : { ...this.#to, securedBy };
    const connection = new NodeConnection(to, this.#context, this, this.#newWatch());
    this.#open.add(connection);
    this.#waiters.set(connection, waiter);
    connection.watch?.taken(false);
  }

  /** Closes the idle connections; those in use finish their request. */
  closeIdle(): void {
    for (const connection of this.#idle.splice(0)) connection.close();
  }

  /** From now on no connection is kept. */
  retire(): void {
    this.#retired = true;
    this.closeIdle();
  }

  onConnected(connection: NodeConnection): void {
    const waiter = this.#waiters.get(connection);
    this.#waiters.delete(connection);
    this.#give(connection, waiter);
  }

  onReusable(connection: NodeConnection): void {
    if (this.#retired || connection.securedBy !== this.#securedBy) {
      connection.close();
      return;
    }
    this.#idle.push(connection);
    connection.closeAfter(this.#settings.idleMs);
    this.#onFree();
  }

  onClosed(connection: NodeConnection, fault: NodeFault): void {
    this.#open.delete(connection);
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
    const waiter = this.#waiters.get(connection);
    this.#waiters.delete(connection);
    waiter?.onConnectFault(fault);
    this.#onFree();
  }

  /** Skips connections that are closed but whose `onClosed` has not come yet; until then they count as open. */
  #takeIdle(): NodeConnection | undefined {
    let warm = this.#idle.pop();
    while (warm?.idle === false) warm = this.#idle.pop();
    return warm;
  }

  /** If the waiter lost interest and begins no request, the connection becomes idle. */
  #give(connection: NodeConnection, waiter: ConnectionWaiter | undefined): void {
    waiter?.onConnection(connection);
    if (!connection.idle) return;
    connection.watch?.giveUp();
    this.onReusable(connection);
  }
}
