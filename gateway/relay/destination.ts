/** Where a connection to a node goes, and what it needs. */

import type { Deadlines } from '../core/deadlines.ts';
import type { Llhttp } from '../http1/llhttp.ts';
import type { NodeAddress } from '../policy/upstream.ts';
import type { SecuredBy } from './node-tls.ts';

/** One address of a node. */
export interface Destination {
  readonly node: NodeAddress;
  readonly address: string;
  readonly connectMs: number;
  /** Set if the node is reached over TLS. */
  readonly securedBy: SecuredBy | undefined;
}

export interface NodeContext {
  readonly llhttp: Llhttp;
  readonly deadlines: Deadlines;
}
