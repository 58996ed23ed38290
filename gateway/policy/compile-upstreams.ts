/** Compiles the upstreams of a tenant and their nodes. */

import { withoutCredentials } from '../core/credentials.ts';
import type { PolicyFault } from '../core/fault.ts';
import { type PathTemplate, parseTemplate } from '../core/path-template.ts';
import { clientTlsFaults, compileClientTls } from './client-tls.ts';
import type { Path, Places } from './places.ts';
import type { TenantFile } from './tenant-file.ts';
import type { NodeAddress, Upstream } from './upstream.ts';
import type { UpstreamFile } from './upstream-file.ts';

export function compileUpstreams(
  places: Places,
  file: TenantFile,
): { readonly upstreams: ReadonlyMap<string, Upstream>; readonly faults: readonly PolicyFault[] } {
  const upstreams = new Map<string, Upstream>();
  const faults: PolicyFault[] = [];
  for (const [name, written] of Object.entries(file.upstreams)) {
    const path = ['upstreams', name];
    const nodes = readNodes(places, path, written, faults);
    faults.push(...tlsFaults(places, path, written, nodes));
    const hashOn = parseTemplate(written.hashOn);
    if (hashOn === undefined)
      faults.push(
        places.at(
          [...path, 'hashOn'],
          `${written.hashOn} is not a template`,
          'path parameters as in {model_id}',
        ),
      );
    else upstreams.set(name, compileUpstream(places, file.tenant, name, written, hashOn, nodes));
  }
  return { upstreams, faults };
}

function compileUpstream(
  places: Places,
  tenant: string,
  name: string,
  written: UpstreamFile,
  hashOn: PathTemplate,
  nodes: readonly NodeAddress[],
): Upstream {
  const { tls, balance, slowStart, resolve: resolveMs, timeouts, connections } = written;
  return {
    name,
    tenant,
    nodes,
    tls: compileClientTls(places, tls),
    balance,
    hashOn,
    slowStartMs: slowStart,
    resolveMs,
    ...watchedBy(written),
    connectMs: timeouts.connect,
    firstByteMs: timeouts.firstByte,
    maxConnections: connections.max,
    idleMs: connections.idle,
  };
}

function watchedBy({
  health,
  ejection,
  breaker,
}: UpstreamFile): Pick<Upstream, 'health' | 'ejection' | 'breaker'> {
  return {
    ...(health !== undefined && {
      health: {
        path: health.path,
        expect: health.expect,
        intervalMs: health.interval,
        timeoutMs: health.timeout,
        unhealthyAfter: health.unhealthyAfter,
        healthyAfter: health.healthyAfter,
      },
    }),
    ...(ejection !== undefined && {
      ejection: {
        consecutiveFailures: ejection.consecutiveFailures,
        forMs: ejection.for,
        maxForMs: ejection.maxFor,
        maxShare: ejection.maxShare,
      },
    }),
    breaker: {
      timeoutMs: breaker.timeout,
      errorThreshold: breaker.errorThreshold,
      minimumRequests: breaker.minimumRequests,
      sleepWindowMs: breaker.sleepWindow,
      maxConcurrent: breaker.maxConcurrent,
    },
  };
}

/** TLS settings that no node uses would suggest a protection that does not exist. */
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
    faults.push(places.at(at, 'no node uses TLS', 'https://host:port'));
  return [...faults, ...clientTlsFaults(places, at, tls)];
}

const NODE_FORM = 'http://host:port or https://host:port';
/** Host and port only. `readNode` also rejects spellings that `URL` reads as another address, such as `010.0.0.1`. */
const NODE = /^https?:\/\/(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]+)?\/?$/i;

function readNodes(
  places: Places,
  path: Path,
  written: UpstreamFile,
  faults: PolicyFault[],
): readonly NodeAddress[] {
  const nodes: NodeAddress[] = [];
  for (const [index, each] of written.nodes.entries()) {
    const { url, weight } = typeof each === 'string' ? { url: each, weight: 1 } : each;
    const at = [...path, 'nodes', index, ...(typeof each === 'string' ? [] : ['url'])];
    const node = readNode(url, weight);
    if (node === undefined)
      faults.push(places.at(at, `${withoutCredentials(url)} is not a node address`, NODE_FORM));
    else if (nodes.some((other) => isSame(other, node))) faults.push(places.at(at, `duplicate node ${url}`));
    else nodes.push(node);
  }
  return nodes;
}

function isSame(a: NodeAddress, b: NodeAddress): boolean {
  return a.host === b.host && a.port === b.port && a.secure === b.secure;
}

function readNode(text: string, weight: number): NodeAddress | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const host = NODE.exec(text)?.[1]?.toLowerCase() ?? '';
  const plain = host.startsWith('[') || (host !== '' && host === url?.hostname);
  if (url === undefined || !plain || url.port === '0') return undefined;
  const secure = url.protocol === 'https:';
  return {
    url: text,
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: Number(url.port || (secure ? 443 : 80)),
    secure,
    weight,
  };
}
