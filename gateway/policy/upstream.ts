/** An upstream, compiled: the nodes that may take a request, how one is chosen, and how they are watched. */

import type { PathTemplate } from '../core/path-template.ts';
import type { ClientTls } from '../sources/client-tls.ts';
import type { StatusRange } from './upstream-file.ts';

export interface Upstream {
  readonly name: string;
  readonly tenant: string;
  readonly nodes: readonly NodeAddress[];
  /** For the nodes that are spoken to over TLS. */
  readonly tls: ClientTls;
  readonly balance: 'leastRequests' | 'roundRobin' | 'hash';
  /** What a node is chosen by where the balance is `hash`. */
  readonly hashOn: PathTemplate;
  /** 0 for none. */
  readonly slowStartMs: number;
  /** How often names of nodes are looked up. */
  readonly resolveMs: number;
  readonly health?: HealthSettings;
  readonly ejection?: EjectionSettings;
  readonly breaker: BreakerSettings;
  readonly connectMs: number;
  readonly firstByteMs: number;
  readonly maxConnections: number;
  readonly idleMs: number;
}

/** One sync node, spoken to in HTTP/1.1. `url`, as written, is its name in logs and metrics. */
export interface NodeAddress {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  readonly weight: number;
  /** Over TLS. */
  readonly secure: boolean;
}

/** How nodes are asked whether they are well. */
export interface HealthSettings {
  readonly path: string;
  readonly expect: readonly StatusRange[];
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Checks in a row. */
  readonly unhealthyAfter: number;
  readonly healthyAfter: number;
}

/** When a node is taken out for what came of requests. */
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
