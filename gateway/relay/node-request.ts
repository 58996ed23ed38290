/** A request looking for a node: it tries one, then another, or waits until one is free. */

import { Expiring } from '../core/deadlines.ts';
import type { Denial } from '../core/denial.ts';
import type { NodeConnection } from './node-connection.ts';
import type { ConnectionWaiter } from './node-pool.ts';
import type { NodeFault } from './response-listener.ts';
import type { Target } from './target.ts';

/** Receives a connection that can take a request, or the reason why there is none. */
export interface NodeWaiter {
  onNode(connection: NodeConnection, node: string): void;
  onNoNode(denial: Denial): void;
}

/** Finds nodes for requests. */
export interface RequestRouter {
  /** The target could not be connected to. */
  onUnreachable(request: NodeRequest, target: Target, fault: NodeFault): void;
  onWaitedInVain(request: NodeRequest): void;
}

export class NodeRequest extends Expiring implements ConnectionWaiter {
  readonly waiter: NodeWaiter;
  /** The hash key; 0 for the other balances. */
  readonly key: number;
  /** URL of the node whose connection broke under this request: another node is preferred. */
  readonly avoid: string | undefined;
  /** Where a connection was requested. */
  target: Target | undefined;
  /** The last target that could not be connected to. */
  tried: Target | undefined;
  readonly #router: RequestRouter;

  constructor(router: RequestRouter, waiter: NodeWaiter, key: number, avoid: string | undefined) {
    super();
    this.#router = router;
    this.waiter = waiter;
    this.key = key;
    this.avoid = avoid;
  }

  onConnection(connection: NodeConnection): void {
    this.waiter.onNode(connection, this.target?.url ?? '');
  }

  onConnectFault(fault: NodeFault): void {
    if (this.target !== undefined) this.#router.onUnreachable(this, this.target, fault);
  }

  override expire(): void {
    this.#router.onWaitedInVain(this);
  }
}
