/** The compiled upstream: its nodes, how one is chosen, and how they are watched. */

import type { PathTemplate } from '../core/path-template.ts';
import type { ClientTls } from '../sources/client-tls.ts';
import type { StatusRange } from './upstream-file.ts';

export interface Upstream {
  readonly name: string;
  readonly tenant: string;
  readonly nodes: readonly NodeAddress[];
  /** Used for `https` nodes. */
  readonly tls: ClientTls;
  readonly balance: 'leastRequests' | 'roundRobin' | 'hash';
  /** Used only if `balance` is `hash`. */
  readonly hashOn: PathTemplate;
  /** 0 disables slow start. */
  readonly slowStartMs: number;
  /** How often host names of nodes are resolved. */
  readonly resolveMs: number;
  readonly health?: HealthSettings;
  readonly ejection?: EjectionSettings;
  readonly breaker: BreakerSettings;
  readonly connectMs: number;
  readonly firstByteMs: number;
  readonly maxConnections: number;
  readonly idleMs: number;
}

/** One sync node, which speaks HTTP/1.1. `url`, as written, is its name in logs and metrics. */
export interface NodeAddress {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  readonly weight: number;
  /** Whether the node uses TLS. */
  readonly secure: boolean;
}

export interface HealthSettings {
  readonly path: string;
  readonly expect: readonly StatusRange[];
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Consecutive checks, as for `healthyAfter`. */
  readonly unhealthyAfter: number;
  readonly healthyAfter: number;
}

/** When the outcomes of requests take a node out. */
export interface EjectionSettings {
  readonly consecutiveFailures: number;
  readonly forMs: number;
  readonly maxForMs: number;
  /** Percent of the upstream's nodes. */
  readonly maxShare: number;
}

export interface BreakerSettings {
  readonly timeoutMs: number;
  /** Percent. */
  readonly errorThreshold: number;
  readonly minimumRequests: number;
  readonly sleepWindowMs: number;
  readonly maxConcurrent: number;
}
