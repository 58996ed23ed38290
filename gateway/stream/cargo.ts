/** What a transfer is given: what it carries, and what it shares with all others. */

import type { Deadlines } from '../core/deadlines.ts';
import type { RequestHead } from '../core/facts.ts';
import type { Admission } from '../decide.ts';
import type { CallerConnection } from '../edge/caller-connection.ts';
import type { LimitLease } from '../limits/limits-backend.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { UpstreamPools } from '../relay/upstream-pools.ts';
import type { Account } from './account.ts';
import type { Traces } from './trace.ts';

/** What every transfer of a gateway shares. */
export interface TransferContext {
  readonly pools: UpstreamPools;
  readonly deadlines: Deadlines;
  readonly metrics: Metrics;
  readonly traces: Traces;
  /** The gateway closes its connections as their calls end. */
  readonly draining: () => boolean;
}

/** What is carried. */
export interface Cargo {
  readonly caller: CallerConnection;
  readonly head: RequestHead;
  readonly admission: Admission;
  readonly lease: LimitLease | undefined;
  /** What the answer says of the limits of its route: field lines, CRLF behind each. */
  readonly quotaLines: string;
  readonly account: Account;
  /** Without a byte in either direction. */
  readonly streamIdleMs: number;
}
