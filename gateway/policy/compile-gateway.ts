/** `gateway.yaml` as written becomes the settings the process runs by. */

import { dirname, resolve } from 'node:path';
import type { PolicyFault } from '../core/fault.ts';
import { buildPrefixTree } from '../core/prefix-tree.ts';
import type { GatewayFile } from './gateway-file.ts';
import type { AuditSettings, GatewaySettings, ListenerSettings } from './gateway-settings.ts';
import type { Places } from './yaml-file.ts';

type EtcdFile = NonNullable<GatewayFile['gateway']['etcd']>;
type AuditFile = NonNullable<GatewayFile['gateway']['audit']>;
type ListenerFile = GatewayFile['gateway']['listeners'][number];

/** Relative paths start at the file. Faults are what no single key can show. */
export function compileGateway(
  places: Places,
  { gateway }: GatewayFile,
): { readonly settings: GatewaySettings; readonly faults: readonly PolicyFault[] } {
  const { limits, timeouts } = gateway;
  const settings: GatewaySettings = {
    listeners: gateway.listeners.map(compileListener),
    certificates: resolve(dirname(places.file), gateway.certificates),
    admin: gateway.admin.address,
    workers: gateway.workers,
    limits: {
      headBytes: limits.headBytes,
      headFields: limits.headFields,
      connections: limits.connections,
      connectionsPerAddress: limits.connectionsPerAddress,
      handshakes: limits.handshakes,
      serverNames: limits.serverNames,
      bufferedBytes: limits.bufferedBytes,
    },
    timeouts: {
      handshakeMs: timeouts.handshake,
      headMs: timeouts.head,
      keepAliveIdleMs: timeouts.keepAliveIdle,
      streamIdleMs: timeouts.streamIdle,
      lingerMs: timeouts.linger,
      drainMs: timeouts.drain,
    },
    ...(gateway.etcd !== undefined && { etcd: compileEtcd(gateway.etcd) }),
    ...(gateway.state !== undefined && { state: gateway.state }),
    ...(gateway.audit !== undefined && { audit: compileAudit(places, gateway.audit) }),
    accessLog: gateway.accessLog.file === '-' ? '-' : resolve(dirname(places.file), gateway.accessLog.file),
  };
  return { settings, faults: repeatedListeners(places, gateway.listeners) };
}

function compileEtcd({ endpoints, tenants }: EtcdFile): NonNullable<GatewaySettings['etcd']> {
  return { endpoints, ...(tenants !== undefined && { tenants }) };
}

function compileAudit(places: Places, { file, rotateAt, keep, onFailure }: AuditFile): AuditSettings {
  return {
    file: resolve(dirname(places.file), file),
    rotateAtBytes: rotateAt,
    ...(keep !== undefined && { keep }),
    onFailure,
  };
}

function compileListener(file: ListenerFile): ListenerSettings {
  const { name, address, proxyProtocol, forwardedHeader } = file;
  const { clientCertificates, minTlsVersion, sessionResumption } = file;
  const trustedProxies = buildPrefixTree(file.trustedProxies);
  return {
    name,
    address,
    trustedProxies,
    proxyProtocol,
    forwardedHeader,
    clientCertificates,
    minTlsVersion,
    sessionResumption,
  };
}

function repeatedListeners(places: Places, listeners: readonly ListenerFile[]): PolicyFault[] {
  const names = new Set<string>();
  const addresses = new Set<string>();
  return listeners.flatMap(({ name, address: { host, port } }, index) => {
    const path = ['gateway', 'listeners', index];
    const address = `${host}:${port}`;
    const faults: PolicyFault[] = [];
    if (names.has(name)) faults.push(places.at([...path, 'name'], `another listener is named ${name}`));
    // Port 0 asks for any free port, so two of them are two addresses.
    if (port !== 0 && addresses.has(address)) {
      faults.push(places.at([...path, 'address'], `another listener has ${address}`));
    }
    names.add(name);
    addresses.add(address);
    return faults;
  });
}
