/** The compiled policy: frozen plain data, made once per reload, read by every request. */

import type { NamePattern } from '../core/name-pattern.ts';
import type { RouteTable } from '../core/route-table.ts';
import type { ScopeName } from '../core/scope.ts';
import type { Rate } from '../core/units.ts';
import type { FailedVerifications } from '../keys/failed-verifications.ts';
import type { KeySet } from '../keys/key-set.ts';
import type { TokenMemory } from '../keys/token-memory.ts';
import type { ListContents } from '../lists/contents.ts';
import type { ListPart } from '../lists/live-list.ts';
import type {
  ClientCertificateMode,
  GatewaySettings,
  ListenerSettings,
  TlsVersion,
} from './gateway-settings.ts';
import type { RevokedCertificates, RevokedTokens } from './revocations.ts';
import type { RulePlaces } from './rule-places.ts';
import type { Upstream } from './upstream.ts';

/** Everything in force at one moment. A request reads it once and keeps it to its end. */
export interface Policy {
  /** 1, 2, 3 …: rises by one with each reload that changed anything. */
  readonly generation: number;
  /** SHA-256, hex, over the texts of every policy file read, in name order, then over those in etcd. */
  readonly digest: string;
  readonly loadedAtMs: number;
  readonly gateway: GatewaySettings;
  /** Tenants by name. */
  readonly tenants: ReadonlyMap<string, Tenant>;
  /** Server names as written, `*.` for a wildcard; `matchServerName` looks a concrete name up. */
  readonly serverNames: ReadonlyMap<string, Tenant>;
}

export interface Tenant {
  readonly name: string;
  /** Where it is written. */
  readonly origin: 'file' | 'etcd';
  /** SHA-256, hex, over the tenant's file and everything it refers to. */
  readonly digest: string;
  readonly places: RulePlaces;
  /** As written: `name.example.com` or `*.example.com`. */
  readonly serverNames: readonly string[];
  /** In place of the listener's, when the tenant says otherwise. */
  readonly clientCertificates?: ClientCertificateMode;
  readonly minTlsVersion?: TlsVersion;
  readonly revocation: Revocation;
  readonly modelId: RegExp;
  readonly addresses: AddressRules;
  /** Every address list of the file by its name. */
  readonly lists: ReadonlyMap<string, AddressList>;
  readonly issuers: readonly Issuer[];
  /** What a scope includes besides itself. */
  readonly inclusions: ReadonlyMap<ScopeName, ReadonlySet<ScopeName>>;
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly routes: RouteTable<Route>;
  /** Some route passes the chain of client certificates on; a resumed session would not have it. */
  readonly forwardsChains: boolean;
  /** Tokens verified under this tenant's issuers; born with the policy, dies with it. */
  readonly tokens: TokenMemory;
  readonly failedTokens: FailedVerifications;
  /** Claims that routes ask for: what the log tells of tokens beside the usual ones. */
  readonly claimNames: ReadonlySet<string>;
}

/** How client certificates and tokens are revoked before they expire. */
export interface Revocation {
  /** `chain`: every authority of the chain needs a revocation list; `leaf`: the issuer of the certificate does. */
  readonly crl: 'chain' | 'leaf';
  /** What a list past its `nextUpdate` means. */
  readonly expiredCrl: 'refuse' | 'accept';
  readonly certificates: RevokedCertificates;
  readonly tokens: RevokedTokens;
}

/** Prefixes from several places under one name. */
export interface AddressList {
  readonly name: string;
  readonly parts: readonly ListPart<ListContents>[];
}

/** Deny wins; with an empty `allow` nothing is allowed, and `allow` is absent when no list was asked for. */
export interface AddressRules {
  readonly allow?: readonly AddressList[];
  readonly deny?: readonly AddressList[];
}

export type TokenBinding = 'required' | 'ifPresent' | 'off';

export interface Issuer {
  /** The key in the policy file. */
  readonly name: string;
  /** The `iss` claim, compared exactly. */
  readonly issuer: string;
  readonly audience: string;
  readonly algorithms: readonly string[];
  readonly clockSkewMs: number;
  readonly maxLifetimeMs: number;
  readonly binding: TokenBinding;
  readonly keys: KeySet;
}

export interface Route {
  readonly name: string;
  readonly places: RulePlaces;
  readonly tenant: string;
  /** What would be refused for the sake of the caller is admitted, and told. */
  readonly shadow: boolean;
  /** How long a running stream may outlive its token: 0, or Infinity for to its end. */
  readonly expiryGraceMs: number;
  /** Absent for `require: none`. */
  readonly require?: Requirement;
  /** Certificate names, any of which will do; absent means every certificate of the tenant's CA. */
  readonly certificateNames?: readonly string[];
  /** The common name of the subject counts among the names. */
  readonly matchCommonName: boolean;
  /** Narrows the tenant's rules: both must pass. */
  readonly addresses?: AddressRules;
  readonly encodedSlash: boolean;
  readonly forwardAuthorization: boolean;
  /** The node gets `Client-Cert-Chain` beside `Client-Cert`. */
  readonly forwardCertificateChain: boolean;
  readonly stream?: StreamRule;
  readonly limits?: RouteLimits;
  /** Only handshakes of that protocol are taken, and what follows one is a tunnel. */
  readonly upgrade?: TunnelRule;
  readonly upstream: Upstream;
  /** For requests no node of the upstream can take. */
  readonly fallback?: Fallback;
}

/** Another upstream, or an answer of the gateway's own; `fields` is name, value. */
export type Fallback =
  | { readonly upstream: Upstream }
  | { readonly status: number; readonly fields: readonly string[]; readonly body: Buffer };

export interface Requirement {
  readonly scope: ScopeName;
  /** In place of the issuer's. */
  readonly binding?: TokenBinding;
  /** Claim name to the template(s) one of which its value must equal. */
  readonly claims: ReadonlyMap<string, readonly ClaimTemplate[]>;
  /** The largest `max_epochs` a token may have; absent means any. */
  readonly maxEpochs?: number;
}

/** A literal, or the value of a path parameter. */
export type ClaimTemplate = { readonly literal: string } | { readonly param: string };

export interface StreamRule {
  readonly format?: 'weight-patch';
  /** Absent means unbounded. */
  readonly maxBytes?: number;
  readonly check: 'header' | 'deep' | 'values';
  /** Which changes `check: values` lets pass, beside NaN and infinity that never do. */
  readonly content?: ContentRule;
  readonly minRate?: MinRate;
  /** Lower-case names of the trailer fields that go on, both ways. */
  readonly trailers?: ReadonlySet<string>;
}

/** How fast a caller has to be while nobody else is waited for. */
export interface MinRate {
  readonly rate: Rate;
  /** Time waited for the caller that the rate is taken over. */
  readonly graceMs: number;
}

/** Who shares the limits of a route: always callers of that route alone. */
export type LimitHolder = 'subject' | 'address' | 'model' | 'tenant';

/** How much of what one holder may use. */
export interface Quotas {
  readonly requests?: Rate;
  /** Requests at once. */
  readonly concurrent?: number;
  /** Body bytes of both directions. */
  readonly bytes?: Rate;
}

export type LimitName = keyof Quotas;

export interface RouteLimits extends Quotas {
  readonly per: LimitHolder;
  /** What `RateLimit-Policy` says of them. */
  readonly quotaPolicy: string;
}

export interface TunnelRule {
  readonly protocol: 'websocket';
  /** Without a byte in either direction. */
  readonly idleMs: number;
  readonly lifetimeMs: number;
}

export interface ContentRule {
  /** The largest absolute value. */
  readonly maxAbs?: number;
  /** The largest share of a tensor that may change, from 0 to 1. */
  readonly maxChanged?: number;
  /** Names one of which a tensor must fit. */
  readonly tensors?: readonly NamePattern[];
}

/** The listener of that name; throws when the policy has none, which is a bug in the wiring. */
export function listenerOf(policy: Policy, name: string): ListenerSettings {
  const listener = policy.gateway.listeners.find((each) => each.name === name);
  if (listener === undefined) throw new Error(`the policy has no listener ${name}`);
  return listener;
}

/** The upstreams of every tenant. */
export function upstreamsOf({ tenants }: Policy): readonly Upstream[] {
  return [...tenants.values()].flatMap((tenant) => [...tenant.upstreams.values()]);
}

/** Who answers to a concrete server name, and under which name of the policy. */
export interface NameMatch {
  /** As written, `*.` for a wildcard. */
  readonly serverName: string;
  readonly tenant: Tenant;
}

/** The match of a canonical server name: the exact name first, then the wildcard one label up. */
export function matchServerName(policy: Policy, serverName: string): NameMatch | undefined {
  const exact = policy.serverNames.get(serverName);
  if (exact !== undefined) return { serverName, tenant: exact };
  const dot = serverName.indexOf('.');
  const wildcard = `*${serverName.slice(dot)}`;
  const tenant = dot > 0 ? policy.serverNames.get(wildcard) : undefined;
  return tenant && { serverName: wildcard, tenant };
}

/** What a handshake at the listener, under one of the tenant's names, asks for. */
export function certificateMode(policy: Policy, tenant: Tenant, listener: string): ClientCertificateMode {
  return tenant.clientCertificates ?? listenerOf(policy, listener).clientCertificates;
}

/** Whether a handshake under the tenant's names may ask for a certificate, at any listener. */
export function asksForClients({ gateway }: Policy, tenant: Tenant): boolean {
  if (tenant.clientCertificates !== undefined) return tenant.clientCertificates !== 'none';
  return gateway.listeners.some((listener) => listener.clientCertificates !== 'none');
}
