/** The states that gauges are set to at a scrape: certificates, lists, nodes and processes. */

import type { ProcessUse } from './process-use.ts';

/** When something that a server name or an upstream needs for its handshakes expires; for `crl`, the next update. */
export interface CertificateExpiry {
  /** The server name, or `tenant/upstream`. */
  readonly name: string;
  readonly role: 'chain' | 'clients' | 'crl' | 'node-chain' | 'node-authorities';
  /** Since the epoch. */
  readonly seconds: number;
}

export interface AddressListState {
  readonly tenant: string;
  readonly list: string;
  readonly prefixes: number;
  /** Whether it is up to date with its sources. */
  readonly isCurrent: boolean;
}

export interface NodeState {
  /** `tenant/upstream`. */
  readonly upstream: string;
  /** The URL as written. */
  readonly node: string;
  readonly up: 0 | 1;
  /** 0 closed, 1 half open, 2 open. */
  readonly breaker: number;
}

export interface ProcessState {
  /** Longest recent delay of the event loop. */
  readonly loopDelaySeconds: number;
  /** Undefined without /proc. */
  readonly use: ProcessUse | undefined;
}
