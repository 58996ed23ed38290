/** The compiled policy, made by a reload, read by every request; only its lists, keys and token state change. */

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

/** Everything in force at one moment. A request reads it once and keeps it until it ends. */
export interface Policy {
  /** Starts at 1 and rises by one with each reload that changes anything. */
  readonly generation: number;
  /** SHA-256, hex, over the text of `gateway.yaml` and the tenants' digests: files by name, then those in etcd. */
  readonly digest: string;
  readonly loadedAtMs: number;
  readonly gateway: GatewaySettings;
  /** Tenants by name. */
  readonly tenants: ReadonlyMap<string, Tenant>;
  /** Tenants by server name, in lower case, with `*.` for a wildcard; `matchServerName` looks up a concrete name. */
  readonly serverNames: ReadonlyMap<string, Tenant>;
}

export interface Tenant {
  readonly name: string;
  /** Where the text of the tenant is stored. */
  readonly origin: 'file' | 'etcd';
  /** SHA-256, hex, over the tenant's text and the settings of etcd and Redis, but not over lists and key files. */
  readonly digest: string;
  readonly places: RulePlaces;
  /** In lower case: `name.example.com` or `*.example.com`. */
  readonly serverNames: readonly string[];
  /** Overrides the listener's setting. */
  readonly clientCertificates?: ClientCertificateMode;
  readonly minTlsVersion?: TlsVersion;
  readonly revocation: Revocation;
  readonly modelId: RegExp;
  readonly addresses: AddressRules;
  /** Every address list of the tenant, by name. */
  readonly lists: ReadonlyMap<string, AddressList>;
  readonly issuers: readonly Issuer[];
  /** What a scope includes besides itself. */
  readonly inclusions: ReadonlyMap<ScopeName, ReadonlySet<ScopeName>>;
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly routes: RouteTable<Route>;
  /** Whether a route forwards the client's certificate chain, which a resumed session does not have. */
  readonly forwardsChains: boolean;
  /** Tokens verified under this tenant's issuers; starts empty whenever the tenant is compiled again. */
  readonly tokens: TokenMemory;
  readonly failedTokens: FailedVerifications;
  /** Claims that routes require; logged in addition to the usual ones. */
  readonly claimNames: ReadonlySet<string>;
}

/** How client certificates and tokens are revoked before they expire. */
export interface Revocation {
  /** `chain`: every authority of the chain needs a revocation list; `leaf`: only the issuer of the certificate does. */
  readonly crl: 'chain' | 'leaf';
  /** Whether a list past its `nextUpdate` refuses certificates. */
  readonly expiredCrl: 'refuse' | 'accept';
  readonly certificates: RevokedCertificates;
  readonly tokens: RevokedTokens;
}

/** A named list of prefixes from one or more sources. */
export interface AddressList {
  readonly name: string;
  readonly parts: readonly ListPart<ListContents>[];
}

/** Deny wins. If `allow` is absent, every address is allowed; if it is empty, none is. */
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
  /** Admits requests that the caller's address, certificate or token would refuse, and logs them. */
  readonly shadow: boolean;
  /** How long a running stream may outlive its token: 0 ends it on expiry, Infinity lets it finish. */
  readonly expiryGraceMs: number;
  /** Absent for `require: none`. */
  readonly require?: Requirement;
  /** Names, one of which the certificate must have; absent means any certificate of the tenant's CA. */
  readonly certificateNames?: readonly string[];
  /** Whether the common name of the subject counts as one of its names. */
  readonly matchCommonName: boolean;
  /** Narrows the tenant's rules: both must pass. */
  readonly addresses?: AddressRules;
  readonly encodedSlash: boolean;
  readonly forwardAuthorization: boolean;
  /** Sends `Client-Cert-Chain` to the node in addition to `Client-Cert`. */
  readonly forwardCertificateChain: boolean;
  readonly stream?: StreamRule;
  readonly limits?: RouteLimits;
  /** If present, the route accepts only handshakes of this protocol, each of which opens a tunnel. */
  readonly upgrade?: TunnelRule;
  readonly upstream: Upstream;
  /** Handles requests that no node of the upstream can take. */
  readonly fallback?: Fallback;
}

/** Another upstream, or the gateway's own answer; `fields` holds a name and its value. */
export type Fallback =
  | { readonly upstream: Upstream }
  | { readonly status: number; readonly fields: readonly string[]; readonly body: Buffer };

export interface Requirement {
  readonly scope: ScopeName;
  /** Overrides the issuer's setting. */
  readonly binding?: TokenBinding;
  /** Maps a claim name to templates; the claim must equal one of them. */
  readonly claims: ReadonlyMap<string, readonly ClaimTemplate[]>;
  /** The largest `max_epochs` a token may have; absent means any. */
  readonly maxEpochs?: number;
}

/** A literal, or the name of a path parameter that provides the value. */
export type ClaimTemplate = { readonly literal: string } | { readonly param: string };

export interface StreamRule {
  readonly format?: 'weight-patch';
  /** Absent means unbounded. */
  readonly maxBytes?: number;
  readonly check: 'header' | 'deep' | 'values';
  /** Which changes `check: values` accepts. It never accepts NaN or infinity. */
  readonly content?: ContentRule;
  readonly minRate?: MinRate;
  /** Lower-case names of the trailer fields to forward, in both directions. */
  readonly trailers?: ReadonlySet<string>;
}

/** The slowest a caller may be while the gateway waits for nobody else. */
export interface MinRate {
  readonly rate: Rate;
  /** The waiting time over which the rate is measured. */
  readonly graceMs: number;
}

/** What callers of one route have in common that share its limits; routes never share limits. */
export type LimitHolder = 'subject' | 'address' | 'model' | 'tenant';

/** How much one holder may use. */
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
  /** The value of `RateLimit-Policy`. */
  readonly quotaPolicy: string;
}

export interface TunnelRule {
  readonly protocol: 'websocket';
  /** Limit without a byte in either direction. */
  readonly idleMs: number;
  readonly lifetimeMs: number;
}

export interface ContentRule {
  /** The largest absolute value. */
  readonly maxAbs?: number;
  /** The largest share of a tensor that may change, from 0 to 1. */
  readonly maxChanged?: number;
  /** Patterns, one of which the name of a changed tensor must match. */
  readonly tensors?: readonly NamePattern[];
}

/** Returns the listener of that name; throws if there is none, which is a bug in the wiring. */
export function listenerOf(policy: Policy, name: string): ListenerSettings {
  const listener = policy.gateway.listeners.find((each) => each.name === name);
  if (listener === undefined) throw new Error(`the policy has no listener ${name}`);
  return listener;
}

export function upstreamsOf({ tenants }: Policy): readonly Upstream[] {
  return [...tenants.values()].flatMap((tenant) => [...tenant.upstreams.values()]);
}

/** The tenant of a concrete server name, and the name in the policy that matched. */
export interface NameMatch {
  /** In lower case, with `*.` for a wildcard. */
  readonly serverName: string;
  readonly tenant: Tenant;
}

/** Looks up a canonical server name: the exact name first, then the wildcard one label up. */
export function matchServerName(policy: Policy, serverName: string): NameMatch | undefined {
  const exact = policy.serverNames.get(serverName);
  if (exact !== undefined) return { serverName, tenant: exact };
  const dot = serverName.indexOf('.');
  const wildcard = `*${serverName.slice(dot)}`;
  const tenant = dot > 0 ? policy.serverNames.get(wildcard) : undefined;
  return tenant && { serverName: wildcard, tenant };
}

/** Whether handshakes at the listener, under the tenant's names, request a client certificate. */
export function certificateMode(policy: Policy, tenant: Tenant, listener: string): ClientCertificateMode {
  return tenant.clientCertificates ?? listenerOf(policy, listener).clientCertificates;
}

/** Whether any listener may request a client certificate under the tenant's names. */
export function asksForClients({ gateway }: Policy, tenant: Tenant): boolean {
  if (tenant.clientCertificates !== undefined) return tenant.clientCertificates !== 'none';
  return gateway.listeners.some((listener) => listener.clientCertificates !== 'none');
}
