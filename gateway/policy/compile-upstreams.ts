/** Upstreams and their nodes. */

import type { PolicyFault } from './fault.ts';
import type { NodeAddress, Upstream } from './policy.ts';
import type { TenantFile, UpstreamFile } from './tenant-file.ts';
import type { Places } from './yaml-file.ts';

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
      if (typeof node === 'string')
        faults.push(places.at([...path, 'nodes', index], node, 'http://host:port'));
      else nodes.push(node);
    }
    const { balance } = written;
    if (balance === 'hash') faults.push(places.at([...path, 'balance'], 'hash is not supported yet'));
    else upstreams.set(name, compileUpstream(file.tenant, name, written, balance, nodes));
  }
  return { upstreams, faults };
}

function compileUpstream(
  tenant: string,
  name: string,
  { timeouts, connections }: UpstreamFile,
  balance: Upstream['balance'],
  nodes: readonly NodeAddress[],
): Upstream {
  return {
    name,
    tenant,
    nodes,
    balance,
    connectMs: timeouts.connect,
    firstByteMs: timeouts.firstByte,
    maxConnections: connections.max,
    idleMs: connections.idle,
  };
}

/** Nothing beside host and port, and no spelling of an address that `URL` would read as another: `010.0.0.1`. */
const NODE = /^http:\/\/(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]+)?\/?$/i;

function readNode(text: string): NodeAddress | string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'https:') return 'nodes over https are not supported yet';
  const host = NODE.exec(text)?.[1]?.toLowerCase() ?? '';
  const plain = host.startsWith('[') || (host !== '' && host === url?.hostname);
  if (url === undefined || !plain || url.port === '0') return `${text} is no address of a node`;
  return { url: url.origin, host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || 80) };
}
