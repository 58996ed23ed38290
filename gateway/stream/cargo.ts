/** The inputs of a transfer: what it carries, and what it shares with all others. */

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
  /** Whether connections are closed as their calls end. */
  readonly draining: () => boolean;
}

/** One admitted request, and what its transfer needs. */
export interface Cargo {
  readonly caller: CallerConnection;
  readonly head: RequestHead;
  readonly admission: Admission;
  readonly lease: LimitLease | undefined;
  /** RateLimit field lines for the answer, each ending in CRLF. */
  readonly quotaLines: string;
  readonly account: Account;
  /** Longest time without a byte in either direction. */
  readonly streamIdleMs: number;
}
