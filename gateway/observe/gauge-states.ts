/** What gauges are set to when they are scraped: certificates, lists, nodes and processes as they are then. */

import type { ProcessUse } from './process-use.ts';

/** When something a server name needs for its handshakes ends. `crl`: when the next revocation list is due. */
export interface CertificateExpiry {
  /** The server name, or `tenant/upstream`. */
  readonly name: string;
  readonly role: 'chain' | 'clients' | 'crl' | 'node-chain' | 'node-authorities';
  /** Since the epoch. */
  readonly seconds: number;
}

/** An address list of a tenant as it is now. */
export interface AddressListState {
  readonly tenant: string;
  readonly list: string;
  readonly prefixes: number;
  /** It is what its sources have. */
  readonly isCurrent: boolean;
}

/** A node as it is now. */
export interface NodeState {
  /** `tenant/upstream`. */
  readonly upstream: string;
  /** Its URL as written. */
  readonly node: string;
  readonly up: 0 | 1;
  /** 0 closed, 1 half open, 2 open. */
  readonly breaker: number;
}

/** How one process is. */
export interface ProcessState {
  /** How late its event loop came lately, at most. */
  readonly loopDelaySeconds: number;
  /** Absent where the system does not tell. */
  readonly use: ProcessUse | undefined;
}
