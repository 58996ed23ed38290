/** Upstreams and their nodes. */

import { dirname, resolve } from 'node:path';
import type { PolicyFault } from '../core/fault.ts';
import type { NodeAddress, NodeTls, Upstream } from './policy.ts';
import { isServerName } from './server-name.ts';
import type { TenantFile, UpstreamFile } from './tenant-file.ts';
import type { Path, Places } from './yaml-file.ts';

export function compileUpstreams(
  places: Places,
  file: TenantFile,
): { readonly upstreams: ReadonlyMap<string, Upstream>; readonly faults: readonly PolicyFault[] } {
  const upstreams = new Map<string, Upstream>();
  const faults: PolicyFault[] = [];
  for (const [name, written] of Object.entries(file.upstreams)) {
    const path = ['upstreams', name];
    const nodes: NodeAddress[] = [];
    for (const [index, text] of written.nodes.entries()) {
      const node = readNode(text);
      if (typeof node === 'string') faults.push(places.at([...path, 'nodes', index], node, NODE_FORM));
      else nodes.push(node);
    }
    const { balance } = written;
    faults.push(...tlsFaults(places, path, written, nodes));
    if (balance === 'hash') faults.push(places.at([...path, 'balance'], 'hash is not supported yet'));
    else upstreams.set(name, compileUpstream(places, file.tenant, name, written, balance, nodes));
  }
  return { upstreams, faults };
}

function compileUpstream(
  places: Places,
  tenant: string,
  name: string,
  { tls, timeouts, connections }: UpstreamFile,
  balance: Upstream['balance'],
  nodes: readonly NodeAddress[],
): Upstream {
  return {
    name,
    tenant,
    nodes,
    tls: compileTls(places, tls),
    balance,
    connectMs: timeouts.connect,
    firstByteMs: timeouts.firstByte,
    maxConnections: connections.max,
    idleMs: connections.idle,
  };
}

function compileTls(places: Places, tls: UpstreamFile['tls']): NodeTls {
  const { ca, cert, key, serverName, minTlsVersion = 'TLSv1.3' } = tls ?? {};
  const folder = dirname(places.file);
  return {
    ...(ca !== undefined && { ca: resolve(folder, ca) }),
    ...(cert !== undefined && { cert: resolve(folder, cert) }),
    ...(key !== undefined && { key: resolve(folder, key) }),
    ...(serverName !== undefined && { serverName: serverName.toLowerCase() }),
    minTlsVersion,
  };
}

/** Keys for TLS that no node would use give a false sense of it. */
function tlsFaults(
  places: Places,
  path: Path,
  { tls }: UpstreamFile,
  nodes: readonly NodeAddress[],
): readonly PolicyFault[] {
  if (tls === undefined) return [];
  const at = [...path, 'tls'];
  const faults: PolicyFault[] = [];
  if (nodes.length > 0 && !nodes.some(({ secure }) => secure))
    faults.push(places.at(at, 'no node is spoken to over TLS', 'https://host:port'));
  if ((tls.cert === undefined) !== (tls.key === undefined))
    faults.push(
      places.at(at, 'a certificate and its key stand together', 'both of cert and key, or neither'),
    );
  const { serverName } = tls;
  if (serverName !== undefined && (!isServerName(serverName) || serverName.startsWith('*')))
    faults.push(places.at([...at, 'serverName'], `${serverName} is no server name`, 'a DNS name'));
  return faults;
}

const NODE_FORM = 'http://host:port or https://host:port';
/** Nothing beside host and port, and no spelling of an address that `URL` would read as another: `010.0.0.1`. */
const NODE = /^https?:\/\/(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]+)?\/?$/i;

function readNode(text: string): NodeAddress | string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const host = NODE.exec(text)?.[1]?.toLowerCase() ?? '';
  const plain = host.startsWith('[') || (host !== '' && host === url?.hostname);
  if (url === undefined || !plain || url.port === '0') return `${text} is no address of a node`;
  const secure = url.protocol === 'https:';
  return {
    url: url.origin,
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: Number(url.port || (secure ? 443 : 80)),
    secure,
  };
}
