/** Callbacks for what a node does: during one request, and when its connection becomes free or is lost. */

import type { BodySink } from '../http1/body-reader.ts';
import type { ResponseHead } from '../http1/response.ts';
import type { NodeConnection } from './node-connection.ts';

/**
 * How a node failed. `timeout`: the connection was not established in time; `stale`: a kept connection broke before a byte
 * of the response arrived.
 */
export interface NodeFault {
  readonly kind: 'refused' | 'timeout' | 'broken' | 'stale' | 'bad-response';
  readonly reason: string;
}

export interface ResponseListener extends BodySink {
  /** The request asks to switch protocols; a node that switches unasked has failed. */
  readonly mayUpgrade: boolean;
  /** The request can be sent on another connection if this one is stale, which then does not count against the node. */
  readonly mayRetry: boolean;
  /** The final response head; interim ones (1xx) are dropped. */
  onResponse(head: ResponseHead): void;
  /** 101: from now on every byte goes to `onBody`, until the connection closes. */
  onUpgrade(head: ResponseHead): void;
  /** Everything read so far has been reported. */
  onReadEnd(): void;
  /** The node reads again after `write` returned false. */
  onNodeDrain(): void;
  /** The connection is lost for this request. */
  onNodeFault(fault: NodeFault): void;
}

/** Notified of the states of a connection. */
export interface ConnectionOwner {
  onConnected(connection: NodeConnection): void;
  /** Both messages ended cleanly and the node keeps the connection open. */
  onReusable(connection: NodeConnection): void;
  onClosed(connection: NodeConnection, fault: NodeFault): void;
}
