/** A small policy with two tenants and an issuer that signs, and the facts of one request, for each test to vary. */

import { CompactSign, exportJWK, generateKeyPair } from 'jose';
import { type Address, parseAddress, parsePrefix } from '../../gateway/core/address.ts';
import type { ConnectionFacts, Facts, RequestHead, VerifiedCertificate } from '../../gateway/core/facts.ts';
import { buildPrefixTree, type PrefixTree } from '../../gateway/core/prefix-tree.ts';
import { checkPath } from '../../gateway/core/request-target.ts';
import { buildRouteTable, parsePathPattern, type RouteEntry } from '../../gateway/core/route-table.ts';
import type { ScopeName } from '../../gateway/core/scope.ts';
import { FailedVerifications } from '../../gateway/keys/failed-verifications.ts';
import { createTokenMemory } from '../../gateway/keys/token-memory.ts';
import type { ListenerSettings } from '../../gateway/policy/gateway-settings.ts';
import type {
  AddressList,
  AddressRules,
  Issuer,
  Policy,
  Requirement,
  Route,
  Tenant,
} from '../../gateway/policy/policy.ts';
import { RevokedCertificates, RevokedTokens } from '../../gateway/policy/revocations.ts';
import { RulePlaces } from '../../gateway/policy/rule-places.ts';
import { fileKeys as keysOf } from '../keys/file-keys.ts';
import { sampleUpstream } from '../relay/sample-upstream.ts';

export const nowMs = 1_800_000_000_000;
export const nowS = nowMs / 1000;
export const thumbprint = 'A'.repeat(43);

export const certificate: VerifiedCertificate = {
  status: 'verified',
  subject: 'CN=worker-1',
  dnsNames: ['Worker-1.example.com'],
  uris: ['spiffe://example.com/worker-1'],
  emails: ['worker@example.com'],
  commonNames: ['worker-1'],
  serialNumber: 'abc123',
  notAfterMs: nowMs + 86_400_000,
  alternativeNames: 'DNS:Worker-1.example.com, URI:spiffe://example.com/worker-1, email:worker@example.com',
  thumbprint,
  fingerprint: Buffer.from(thumbprint, 'base64url').toString('hex'),
  der: 'AQID',
  chain: [],
};

export const scopeFinetune: Requirement = {
  scope: 'finetune',
  claims: new Map([['model_id', [{ param: 'model_id' }]]]),
};

export function address(text: string): Address {
  const read = parseAddress(text);
  if (read === undefined) throw new Error(text);
  return read;
}

function treeOf(cidrs: readonly string[]): PrefixTree {
  return buildPrefixTree(
    cidrs.map((text) => {
      const prefix = parsePrefix(text);
      if (typeof prefix === 'string') throw new Error(prefix);
      return prefix;
    }),
  );
}

export function listOf(name: string, cidrs: readonly string[] | undefined): AddressList {
  const contents = cidrs && { tree: treeOf(cidrs), placeOf: (number: number) => `a.yaml:${number + 7}` };
  return { name, parts: [{ place: 'a.yaml', contents, isCurrent: contents !== undefined }] };
}

export function addressRules(
  allow: readonly string[] | undefined,
  deny: readonly string[] = [],
): AddressRules {
  return {
    deny: [listOf('deny-list', deny)],
    ...(allow !== undefined && { allow: [listOf('allow-list', allow)] }),
  };
}

const upstream = sampleUpstream([]);

export function route(name: string, more: Partial<Route> = {}): Route {
  return {
    name,
    places: new RulePlaces('a.yaml', 20, new Map()),
    tenant: 'tenant-a',
    shadow: false,
    expiryGraceMs: 0,
    encodedSlash: false,
    forwardAuthorization: false,
    forwardCertificateChain: false,
    matchCommonName: false,
    upstream,
    ...more,
  };
}

export function entry(methods: string, path: string, to: Route): RouteEntry<Route> {
  const pattern = parsePathPattern(path);
  if (typeof pattern === 'string') throw new Error(pattern);
  return { methods: methods.split(' '), pattern, route: to };
}

const { publicKey, privateKey } = await generateKeyPair('ES256');
const fileKeys = await keysOf(
  JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'k1', alg: 'ES256' }] }),
);
if (typeof fileKeys === 'string') throw new Error(fileKeys);

export const issuer: Issuer = {
  name: 'main',
  issuer: 'https://auth.example.com',
  audience: 'weight-sync',
  algorithms: ['ES256'],
  clockSkewMs: 30_000,
  maxLifetimeMs: 3_600_000,
  binding: 'ifPresent',
  keys: fileKeys,
};

export const claims = {
  iss: issuer.issuer,
  aud: issuer.audience,
  sub: 'worker-1',
  iat: nowS - 60,
  exp: nowS + 600,
  scope: 'finetune',
  model_id: 'm_1',
};

/** Signs that payload as it is. */
export function sign(payload: string, header: Readonly<Record<string, unknown>> = {}): Promise<string> {
  const protectedHeader = { alg: 'ES256', kid: 'k1', typ: 'JWT', ...header };
  return new CompactSign(Buffer.from(payload)).setProtectedHeader(protectedHeader).sign(privateKey);
}

/** Signs the ordinary claims, some of them changed; `undefined` leaves one out. */
export function signClaims(changed: Readonly<Record<string, unknown>> = {}): Promise<string> {
  return sign(JSON.stringify({ ...claims, ...changed }));
}

export function tenant(routes: readonly RouteEntry<Route>[], more: Partial<Tenant> = {}): Tenant {
  return {
    name: 'tenant-a',
    origin: 'file',
    digest: '',
    places: new RulePlaces('a.yaml', 1, new Map()),
    claimNames: new Set(),
    lists: new Map(),
    serverNames: ['a.example.com', '*.a.example.com'],
    revocation: {
      crl: 'chain',
      expiredCrl: 'refuse',
      certificates: new RevokedCertificates([]),
      tokens: new RevokedTokens([]),
    },
    modelId: /^[a-z0-9_]{3,32}$/,
    addresses: {},
    issuers: [issuer],
    inclusions: new Map<ScopeName, ReadonlySet<ScopeName>>([['finetune', new Set(['read'] as const)]]),
    upstreams: new Map([['sync', upstream]]),
    routes: buildRouteTable(routes),
    forwardsChains: false,
    tokens: createTokenMemory(),
    failedTokens: new FailedVerifications({ count: 60, perMs: 60_000 }),
    ...more,
  };
}

const tenantB = tenant([], { name: 'tenant-b', serverNames: ['b.example.com'] });

export function policyOf(tenantA: Tenant, listener: Partial<ListenerSettings> = {}): Policy {
  const edge: ListenerSettings = {
    name: 'edge',
    address: { host: '127.0.0.1', port: 0 },
    trustedProxies: treeOf(['10.0.0.0/8']),
    proxyProtocol: 'off',
    forwardedHeader: 'x-forwarded-for',
    clientCertificates: 'require',
    minTlsVersion: 'TLSv1.3',
    sessionResumption: 'bound',
    ...listener,
  };
  const zeros = { headMs: 0, keepAliveIdleMs: 0, streamIdleMs: 0, lingerMs: 0, drainMs: 0 };
  const served = [tenantA, tenantB].flatMap((each) => each.serverNames.map((name) => [name, each] as const));
  return {
    generation: 1,
    digest: '',
    loadedAtMs: nowMs,
    gateway: {
      listeners: [edge],
      certificates: '/',
      admin: { host: '127.0.0.1', port: 0 },
      workers: 1,
      limits: {
        headBytes: 0,
        headFields: 0,
        connections: 0,
        connectionsPerAddress: 0,
        handshakes: 0,
        serverNames: 0,
        bufferedBytes: 0,
      },
      timeouts: { handshakeMs: 0, ...zeros },
      accessLog: '-',
    },
    tenants: new Map([tenantA, tenantB].map((each) => [each.name, each])),
    serverNames: new Map(served),
  };
}

/** A request arriving on a good connection of tenant a. */
export function facts(head: Partial<RequestHead> = {}, connection: Partial<ConnectionFacts> = {}): Facts {
  const { target = head.path ?? '/v1/models/m_1' } = head;
  const path = target.split('?')[0] ?? '';
  const shape = checkPath(path);
  if (typeof shape === 'string') throw new Error(shape);
  return {
    nowMs,
    connection: {
      listener: 'edge',
      serverName: 'a.example.com',
      peer: address('203.0.113.5'),
      peerPort: 4711,
      certificate,
      tlsVersion: 'TLSv1.3',
      tlsResumed: false,
      ...connection,
    },
    head: {
      method: 'GET',
      target,
      path,
      encodedSlash: shape.encodedSlash,
      minor: 1,
      host: 'a.example.com',
      authority: 'a.example.com',
      fields: [],
      framing: { kind: 'none' },
      keepAlive: true,
      expectsContinue: false,
      ...head,
    },
  };
}

export const bearer = (token: string): readonly string[] => ['Authorization', `Bearer ${token}`];
