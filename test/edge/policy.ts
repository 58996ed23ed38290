/** The part of a policy that the edge reads, made for the tests without files. */

import { createHash } from 'node:crypto';
import { buildPrefixTree } from '../../gateway/core/prefix-tree.ts';
import type { ServerIdentity } from '../../gateway/policy/certificates.ts';
import type { ClientCertificateMode, ListenerSettings, Policy, Tenant } from '../../gateway/policy/policy.ts';
import type { Leaf } from './authority.ts';

export function identityOf(
  serverName: string,
  leaf: Leaf,
  clientCas: readonly string[],
  crlPem?: string,
): ServerIdentity {
  const texts = [serverName, leaf.certPem, leaf.keyPem, ...clientCas, crlPem ?? ''];
  return {
    serverName,
    chainPem: leaf.certPem,
    keyPem: leaf.keyPem,
    clientCas,
    ...(crlPem !== undefined && { crlPem }),
    notAfterMs: Date.now() + 86_400_000,
    digest: createHash('sha256').update(texts.join('\0')).digest('hex'),
  };
}

export interface PolicyParts {
  readonly identities: readonly ServerIdentity[];
  /** Server name as written to tenant; by default every identity is a tenant of its own name. */
  readonly tenants?: Readonly<Record<string, string>>;
  readonly modes?: Readonly<Record<string, ClientCertificateMode>>;
  readonly listener?: Partial<ListenerSettings>;
  readonly connections?: number;
  readonly connectionsPerAddress?: number;
  readonly handshakeMs?: number;
}

export function policyOf(parts: PolicyParts): Policy {
  const names = parts.identities.map((identity) => identity.serverName);
  const tenants = parts.tenants ?? Object.fromEntries(names.map((name) => [name, name]));
  const listener: ListenerSettings = {
    name: 'edge',
    address: { host: '127.0.0.1', port: 0 },
    trustedProxies: buildPrefixTree<true>([]),
    forwardedHeader: 'x-forwarded-for',
    clientCertificates: 'require',
    minTlsVersion: 'TLSv1.2',
    sessionResumption: 'bound',
    ...parts.listener,
  };
  const gateway = {
    listeners: [listener],
    limits: {
      headBytes: 32_768,
      headFields: 100,
      connections: parts.connections ?? 100,
      connectionsPerAddress: parts.connectionsPerAddress ?? 100,
    },
    timeouts: { handshakeMs: parts.handshakeMs ?? 10_000 },
  };
  const made = Object.entries(tenants).map(([serverName, name]): [string, Pick<Tenant, 'name'>] => {
    const mode = parts.modes?.[name];
    return [serverName, { name, ...(mode !== undefined && { clientCertificates: mode }) }];
  });
  const identities = new Map(parts.identities.map((identity) => [identity.serverName, identity]));
  // The rest of a policy is of no concern to the edge.
  return { gateway, identities, serverNames: new Map(made) } as unknown as Policy;
}
