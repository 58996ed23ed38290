/** The compiled settings of the process: listeners, limits, timeouts, and the etcd and Redis it uses. */

import type { PrefixTree } from '../core/prefix-tree.ts';
import type { EtcdAddress } from '../lists/etcd-server.ts';
import type { ServerAccess } from '../lists/server-access.ts';

export interface GatewaySettings {
  readonly listeners: readonly ListenerSettings[];
  /** Absolute folder with one folder per server name. */
  readonly certificates: string;
  readonly admin: HostPort;
  /** Processes that accept connections; `auto` means one per core. */
  readonly workers: number | 'auto';
  readonly limits: GatewayLimits;
  readonly timeouts: GatewayTimeouts;
  /** The etcd that holds lists, and the prefix of its tenants. */
  readonly etcd?: EtcdAddress & { readonly tenants?: string };
  /** The Redis that holds lists and shares limits. */
  readonly state?: SharedState;
  /** Absolute path of the access log, or `-` for standard output. */
  readonly accessLog: string;
  /** If absent, no audit log is kept. */
  readonly audit?: AuditSettings;
}

/** Returns the access settings of etcd and Redis, if any. */
export function accessesOf({ etcd, state }: GatewaySettings): readonly ServerAccess[] {
  return [etcd?.access, state?.access].filter((access) => access !== undefined);
}

export interface AuditSettings {
  /** Absolute path. */
  readonly file: string;
  readonly rotateAtBytes: number;
  /** Number of rotated files to keep; absent means all. */
  readonly keep?: number;
  /** Whether requests are refused, or admitted and counted, while the log cannot be written. */
  readonly onFailure: 'refuse' | 'count';
}

export interface SharedState {
  /** URL of Redis, which may contain a password. */
  readonly redis: string;
  readonly access?: ServerAccess;
  /** Key prefix; gateways with the same prefix share limits. */
  readonly prefix: string;
  /** How limits are decided while Redis is unavailable. */
  readonly onFailure: 'local' | 'deny' | 'allow';
}

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

export interface ListenerSettings {
  readonly name: string;
  readonly address: HostPort;
  readonly trustedProxies: PrefixTree;
  /** With `require`, only trusted proxies may connect, each with a PROXY header. */
  readonly proxyProtocol: 'off' | 'accept' | 'require';
  readonly forwardedHeader: 'x-forwarded-for' | 'forwarded';
  readonly clientCertificates: ClientCertificateMode;
  readonly minTlsVersion: TlsVersion;
  readonly sessionResumption: 'bound' | 'off';
}

export interface GatewayLimits {
  readonly headBytes: number;
  readonly headFields: number;
  readonly connections: number;
  readonly connectionsPerAddress: number;
  /** Concurrent TLS handshakes on all listeners together. */
  readonly handshakes: number;
  /** Server names whose certificates are kept loaded. */
  readonly serverNames: number;
  /** Bytes buffered for all callers together. */
  readonly bufferedBytes: number;
}

export interface GatewayTimeouts {
  readonly handshakeMs: number;
  readonly headMs: number;
  readonly keepAliveIdleMs: number;
  readonly streamIdleMs: number;
  readonly lingerMs: number;
  readonly drainMs: number;
}

export type ClientCertificateMode = 'require' | 'optional' | 'none';

export type TlsVersion = 'TLSv1.2' | 'TLSv1.3';
