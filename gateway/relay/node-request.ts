/** A request on its way to a node: it is tried there, tried at the next one, or waits until one is free. */

import { Expiring } from '../core/deadlines.ts';
import type { Denial } from '../core/denial.ts';
import type { NodeConnection } from './node-connection.ts';
import type { ConnectionWaiter } from './node-pool.ts';
import type { NodeFault } from './response-listener.ts';
import type { Target } from './target.ts';

/** Gets a connection that may take a request, or the reason why there is none. */
export interface NodeWaiter {
  onNode(connection: NodeConnection, node: string): void;
  onNoNode(denial: Denial): void;
}

/** Who finds nodes for requests. */
export interface RequestRouter {
  /** The target could not be connected to. */
  onUnreachable(request: NodeRequest, target: Target, fault: NodeFault): void;
  onWaitedInVain(request: NodeRequest): void;
}

export class NodeRequest extends Expiring implements ConnectionWaiter {
  readonly waiter: NodeWaiter;
  /** For balance by hash. */
  readonly key: number;
  /** The node a connection of which broke under this request: another one is taken, if there is one. */
  readonly avoid: string | undefined;
  /** Where a connection was asked for. */
  target: Target | undefined;
  /** The one that could not be connected to. */
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
