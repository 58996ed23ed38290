/** Compiles the routes of a tenant and resolves the names they use. */

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { PolicyFault } from '../core/fault.ts';
import { namePattern } from '../core/name-pattern.ts';
import { buildRouteTable, type RouteEntry, type RouteTable } from '../core/route-table.ts';
import { type AddressLists, addressRules } from './address-lists.ts';
import { readTemplate } from './claim-template.ts';
import type { Path, Places } from './places.ts';
import type { ContentRule, Requirement, Route, RouteLimits, StreamRule, TunnelRule } from './policy.ts';
import { quotaPolicy } from './quota-policy.ts';
import { type ResolvedRoute, resolveRoute } from './resolve-route.ts';
import { type RulePlaces, rulePlaces } from './rule-places.ts';
import type { RouteFile, TenantFile } from './tenant-file.ts';
import type { Upstream } from './upstream.ts';

/** Keys of a route that can cause a refusal. */
const RULES = ['match', 'allow', 'certificate', 'require', 'stream', 'limits', 'upgrade', 'tunnel'];

const MIN_RATE_GRACE_MS = 10_000;
const TUNNEL_IDLE_MS = 300_000;
const TUNNEL_LIFETIME_MS = 86_400_000;

/** Routes compiled before yielding to the event loop. */
const PIECE = 16;

export async function compileRoutes(
  places: Places,
  file: TenantFile,
  lists: AddressLists,
  upstreams: ReadonlyMap<string, Upstream>,
): Promise<{ readonly routes: RouteTable<Route>; readonly faults: readonly PolicyFault[] }> {
  const faults: PolicyFault[] = [];
  const entries: RouteEntry<Route>[] = [];
  const shared = new Shared();
  const names = new Set<string>();
  for (const [index, written] of file.routes.entries()) {
    if (index % PIECE === PIECE - 1) await nextTurn();
    const path = ['routes', index];
    if (names.has(written.name))
      faults.push(places.at([...path, 'name'], `duplicate route name ${written.name}`));
    names.add(written.name);
    faults.push(...unaskedCertificates(places, file, written, path));
    const resolved = resolveRoute(places, written, path, upstreams, faults);
    if (resolved === undefined) continue;
    const at = rulePlaces(places, path, RULES);
    const route = compileRoute(file, written, at, lists, resolved, shared);
    entries.push({ methods: written.match.methods, pattern: resolved.pattern, route });
  }
  return { routes: buildRouteTable(entries), faults };
}

/** Finds a route that requires a certificate although the tenant's handshakes request none. */
function unaskedCertificates(
  places: Places,
  { clientCertificates }: TenantFile,
  { certificate }: RouteFile,
  path: Path,
): PolicyFault[] {
  if (clientCertificates !== 'none' || certificate === undefined) return [];
  const problem = 'can never match: the tenant requests no client certificates';
  return [places.at([...path, 'certificate'], problem, 'clientCertificates: optional or require')];
}

function compileRoute(
  file: TenantFile,
  written: RouteFile,
  places: RulePlaces,
  lists: AddressLists,
  { upstream, fallback }: ResolvedRoute,
  shared: Shared,
): Route {
  const { name, require, allow, certificate, stream } = written;
  const { encodedSlash, forwardAuthorization, forwardCertificateChain } = written;
  return {
    name,
    places,
    tenant: file.tenant,
    shadow: (written.mode ?? file.mode) === 'shadow',
    expiryGraceMs: written.onExpiry,
    encodedSlash,
    forwardAuthorization,
    forwardCertificateChain,
    matchCommonName: certificate?.commonName ?? false,
    upstream,
    ...(fallback !== undefined && { fallback }),
    ...(require !== 'none' && { require: shared.requirement(require) }),
    ...(allow !== undefined && { addresses: addressRules(lists, allow, []) }),
    ...(certificate !== undefined && { certificateNames: certificate.names }),
    ...(stream !== undefined && { stream: shared.stream(stream) }),
    ...(written.limits !== undefined && { limits: compileLimits(name, written.limits) }),
    ...(written.upgrade !== undefined && { upgrade: compileTunnel(written.upgrade, written.tunnel) }),
  };
}

/** Gives equal requirements one object, so that what a thousand routes share stays in the CPU cache. */
class Shared {
  readonly #requirements = new Map<string, Requirement>();
  readonly #streams = new Map<string, StreamRule>();

  requirement(written: Exclude<RouteFile['require'], 'none'>): Requirement {
    const key = JSON.stringify(written);
    const known = this.#requirements.get(key) ?? compileRequirement(written);
    this.#requirements.set(key, known);
    return known;
  }

  stream(written: NonNullable<RouteFile['stream']>): StreamRule {
    const key = JSON.stringify(written);
    const known = this.#streams.get(key) ?? compileStream(written);
    this.#streams.set(key, known);
    return known;
  }
}

function compileRequirement(written: Exclude<RouteFile['require'], 'none'>): Requirement {
  const claims = Object.entries(written.claims).map(
    ([name, value]) => [name, [value].flat().map(readTemplate)] as const,
  );
  const { scope, binding, maxEpochs } = written;
  return {
    scope,
    claims: new Map(claims),
    ...(binding !== undefined && { binding }),
    ...(maxEpochs !== undefined && { maxEpochs }),
  };
}

function compileStream(written: NonNullable<RouteFile['stream']>): StreamRule {
  const { format, maxBytes, check, minRate, minRateGrace = MIN_RATE_GRACE_MS, trailers } = written;
  return {
    check,
    ...(format !== undefined && { format }),
    ...(maxBytes !== undefined && { maxBytes }),
    ...(minRate !== undefined && { minRate: { rate: minRate, graceMs: minRateGrace } }),
    ...(trailers !== undefined && { trailers: new Set(trailers.map((name) => name.toLowerCase())) }),
    ...(check === 'values' && { content: compileContent(written) }),
  };
}

function compileContent({ maxAbs, maxChanged, tensors }: NonNullable<RouteFile['stream']>): ContentRule {
  return {
    ...(maxAbs !== undefined && { maxAbs }),
    ...(maxChanged !== undefined && { maxChanged }),
    ...(tensors !== undefined && { tensors: tensors.map(namePattern) }),
  };
}

function compileLimits(
  route: string,
  { per, requests, concurrent, bytes }: NonNullable<RouteFile['limits']>,
): RouteLimits {
  const quotas = {
    ...(requests !== undefined && { requests }),
    ...(concurrent !== undefined && { concurrent }),
    ...(bytes !== undefined && { bytes }),
  };
  return { per, ...quotas, quotaPolicy: quotaPolicy(route, quotas) };
}

function compileTunnel(
  protocol: NonNullable<RouteFile['upgrade']>,
  { idle = TUNNEL_IDLE_MS, lifetime = TUNNEL_LIFETIME_MS }: RouteFile['tunnel'] = {},
): TunnelRule {
  return { protocol, idleMs: idle, lifetimeMs: lifetime };
}
