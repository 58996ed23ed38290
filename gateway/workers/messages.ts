/** The messages between the primary and a worker, all structured-cloneable (`serialization: 'advanced'`). */

import type { AuditLog } from '../audit/audit-log.ts';
import type { AuditEntry } from '../audit/entry.ts';
import type { LimitClaim, LimitLease, LimitRefusal, Spent } from '../limits/limits-backend.ts';
import type { NodeState } from '../observe/gauge-states.ts';
import type { SeriesSnapshot } from '../observe/merged-series.ts';
import type { HostPort } from '../policy/gateway-settings.ts';
import type { UpstreamStatus } from '../relay/upstream-pools.ts';

/** One end of the channel between two processes. */
export interface Channel<Out, In> {
  /** `onSent` is called when the message has left this process, or never will. */
  send(message: Out, onSent?: () => void): void;
  onMessage(hear: (message: In) => void): void;
}

export type PrimaryEnd = Channel<ToWorker, FromWorker>;
export type WorkerEnd = Channel<FromWorker, ToWorker>;

/** A node by its upstream, `tenant/upstream`, and its URL. */
export interface NodeName {
  readonly upstream: string;
  readonly node: string;
}

export interface WorkerSettings {
  /** Counted from 1; identifies the worker in the log. */
  readonly number: number;
  readonly processes: number;
  readonly readsInPlace: boolean;
  /** Each worker binds the addresses itself, if the system allows it. */
  readonly reusePort: boolean;
  /** Addresses already bound, by listener name: with port 0, all workers share the port the first one got. */
  readonly addresses: ReadonlyMap<string, HostPort>;
  readonly drained: readonly NodeName[];
  /** Absent if no audit log is kept. */
  readonly audit: Pick<AuditLog, 'isRequired'> | undefined;
}

export type ToWorker =
  | { readonly kind: 'start'; readonly settings: WorkerSettings }
  /** A message of the handoff. */
  | { readonly kind: 'handed'; readonly message: unknown }
  | { readonly kind: 'look'; readonly id: number }
  | { readonly kind: 'set-drained'; readonly id: number; readonly name: NodeName; readonly drained: boolean }
  | { readonly kind: 'claimed'; readonly id: number; readonly answer: LimitRefusal | GrantedLease }
  | { readonly kind: 'spent'; readonly id: number; readonly spent: Spent; readonly paidBytes: number }
  | { readonly kind: 'recorded'; readonly id: number; readonly isWritten: boolean }
  | { readonly kind: 'drain' }
  | { readonly kind: 'stop' };

/** What a worker needs to know about a lease that the primary holds for it. */
export interface GrantedLease extends Pick<LimitLease, 'kind' | 'backend' | 'left' | 'paidBytes'> {}

export type FromWorker =
  | {
      readonly kind: 'up';
      readonly addresses: ReadonlyMap<string, HostPort>;
    }
  /** A message of the handoff. */
  | { readonly kind: 'to-control'; readonly message: unknown }
  /** The worker cannot start. */
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'view'; readonly id: number; readonly view: WorkerView }
  | { readonly kind: 'drained-set'; readonly id: number; readonly known: boolean }
  /** Sent unasked, so that little is lost if the worker dies. */
  | { readonly kind: 'series'; readonly snapshot: SeriesSnapshot }
  /** Whole lines for standard output. */
  | { readonly kind: 'lines'; readonly bytes: Uint8Array }
  /** For the audit log. With an id, the worker waits for `recorded`. */
  | { readonly kind: 'record'; readonly entry: AuditEntry; readonly id: number | undefined }
  | { readonly kind: 'claim'; readonly id: number; readonly claim: LimitClaim }
  | { readonly kind: 'spend'; readonly id: number; readonly totalBytes: number }
  | { readonly kind: 'release'; readonly id: number; readonly totalBytes: number };

/** A worker's metrics and its view of the nodes. */
export interface WorkerView {
  readonly snapshot: SeriesSnapshot;
  readonly nodes: readonly UpstreamStatus[];
  readonly gauges: readonly NodeState[];
}
