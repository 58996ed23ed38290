/** Who hears what a node does: during one request, and when its connection is free or gone. */

import type { BodySink } from '../http1/body-reader.ts';
import type { ResponseHead } from '../http1/response.ts';
import type { NodeConnection } from './node-connection.ts';

/**
 * Why a node did not do its part. `timeout`: a connection could not be made in time; `stale`: a kept one broke before a byte of
 * the answer was there.
 */
export interface NodeFault {
  readonly kind: 'refused' | 'timeout' | 'broken' | 'stale' | 'bad-response';
  readonly reason: string;
}

export interface ResponseListener extends BodySink {
  /** The request asks for another protocol; a node that switches unasked has failed. */
  readonly mayUpgrade: boolean;
  /** Should its connection turn out to be stale, it asks on another one: that says nothing of the node. */
  readonly mayRetry: boolean;
  /** The final response head; interim ones (1xx) are dropped. */
  onResponse(head: ResponseHead): void;
  /** 101: from here on every byte of the connection goes to `onBody`, until it closes. */
  onUpgrade(head: ResponseHead): void;
  /** All that was read so far was told. */
  onReadEnd(): void;
  /** The node reads again after `write` answered false. */
  onNodeDrain(): void;
  /** The connection is lost for this request. */
  onNodeFault(fault: NodeFault): void;
}

/** What becomes of a connection when its request is over. */
export interface ConnectionOwner {
  onConnected(connection: NodeConnection): void;
  /** Both messages ended cleanly and the node keeps the connection open. */
  onReusable(connection: NodeConnection): void;
  onClosed(connection: NodeConnection, fault: NodeFault): void;
}
