/** The settings of the process, compiled: listeners, limits, times, and the servers it shares things through. */

import type { PrefixTree } from '../core/prefix-tree.ts';
import type { EtcdAddress } from '../lists/etcd-server.ts';
import type { ServerAccess } from '../lists/server-access.ts';

export interface GatewaySettings {
  readonly listeners: readonly ListenerSettings[];
  /** Absolute folder with one folder per server name. */
  readonly certificates: string;
  readonly admin: HostPort;
  /** Processes that take connections; `auto`: one for each core. */
  readonly workers: number | 'auto';
  readonly limits: GatewayLimits;
  readonly timeouts: GatewayTimeouts;
  /** Where lists in etcd are asked for, and the prefix of the tenants there. */
  readonly etcd?: EtcdAddress & { readonly tenants?: string };
  /** Redis, where lists live and limits are shared. */
  readonly state?: SharedState;
  /** Absolute path of the access log, or `-` for standard output. */
  readonly accessLog: string;
  /** Absent: no audit log is kept. */
  readonly audit?: AuditSettings;
}

/** Of the servers it shares things through. */
export function accessesOf({ etcd, state }: GatewaySettings): readonly ServerAccess[] {
  return [etcd?.access, state?.access].filter((access) => access !== undefined);
}

export interface AuditSettings {
  /** Absolute path. */
  readonly file: string;
  readonly rotateAtBytes: number;
  /** Files put aside that stay; absent means all. */
  readonly keep?: number;
  /** What becomes of requests while it cannot be written: refused, or admitted and counted. */
  readonly onFailure: 'refuse' | 'count';
}

export interface SharedState {
  /** Its URL, which may hold a password. */
  readonly redis: string;
  readonly access?: ServerAccess;
  /** What the keys of gateways that share limits begin with. */
  readonly prefix: string;
  /** How limits are decided while Redis cannot be asked. */
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
  /** With `require` only trusted proxies are let in, each with a PROXY header. */
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
  /** TLS handshakes under way at once, over all listeners. */
  readonly handshakes: number;
  /** Server names whose certificates are kept ready. */
  readonly serverNames: number;
  /** Held for all callers together. */
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
