/** Compiles `gateway.yaml` into the settings of the process. */

import { dirname, resolve } from 'node:path';
import type { PolicyFault } from '../core/fault.ts';
import { buildPrefixTree } from '../core/prefix-tree.ts';
import type { GatewayFile } from './gateway-file.ts';
import type { AuditSettings, GatewaySettings, ListenerSettings, SharedState } from './gateway-settings.ts';
import type { Places } from './places.ts';
import { etcdAccess, etcdFaults, redisAccess, redisFaults } from './server-access.ts';

type EtcdFile = NonNullable<GatewayFile['gateway']['etcd']>;
type StateFile = NonNullable<GatewayFile['gateway']['state']>;
type AuditFile = NonNullable<GatewayFile['gateway']['audit']>;
type ListenerFile = GatewayFile['gateway']['listeners'][number];

/** Resolves relative paths against the file's folder. The faults are those that involve several keys. */
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
    limits,
    timeouts: {
      handshakeMs: timeouts.handshake,
      headMs: timeouts.head,
      keepAliveIdleMs: timeouts.keepAliveIdle,
      streamIdleMs: timeouts.streamIdle,
      lingerMs: timeouts.linger,
      drainMs: timeouts.drain,
    },
    ...(gateway.etcd !== undefined && { etcd: compileEtcd(places, gateway.etcd) }),
    ...(gateway.state !== undefined && { state: compileState(places, gateway.state) }),
    ...(gateway.audit !== undefined && { audit: compileAudit(places, gateway.audit) }),
    accessLog: gateway.accessLog.file === '-' ? '-' : resolve(dirname(places.file), gateway.accessLog.file),
  };
  const faults = [
    ...repeatedListeners(places, gateway.listeners),
    ...(gateway.etcd === undefined ? [] : etcdFaults(places, gateway.etcd)),
    ...(gateway.state === undefined ? [] : redisFaults(places, gateway.state)),
  ];
  return { settings, faults };
}

function compileEtcd(places: Places, file: EtcdFile): NonNullable<GatewaySettings['etcd']> {
  const { endpoints, tenants } = file;
  const access = etcdAccess(places, file);
  return {
    endpoints,
    ...(access !== undefined && { access }),
    ...(tenants !== undefined && { tenants }),
  };
}

function compileState(places: Places, file: StateFile): SharedState {
  const { redis, prefix, onFailure } = file;
  const access = redisAccess(places, file);
  return { redis, ...(access !== undefined && { access }), prefix, onFailure };
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
    if (names.has(name)) faults.push(places.at([...path, 'name'], `duplicate listener name ${name}`));
    // Port 0 requests any free port, so two listeners on it do not collide.
    if (port !== 0 && addresses.has(address)) {
      faults.push(places.at([...path, 'address'], `duplicate listener address ${address}`));
    }
    names.add(name);
    addresses.add(address);
    return faults;
  });
}
