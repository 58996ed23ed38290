/** The routes of a tenant, with the names they use resolved. */

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { PolicyFault } from '../core/fault.ts';
import { namePattern } from '../core/name-pattern.ts';
import { paramsOf } from '../core/path-template.ts';
import {
  buildRouteTable,
  type PathPattern,
  parsePathPattern,
  type RouteEntry,
  type RouteTable,
} from '../core/route-table.ts';
import { type AddressLists, addressRules, unknownLists } from './address-lists.ts';
import type { Path, Places } from './places.ts';
import type {
  ClaimTemplate,
  ContentRule,
  Fallback,
  Requirement,
  Route,
  RouteLimits,
  StreamRule,
  TunnelRule,
} from './policy.ts';
import { quotaPolicy } from './quota-policy.ts';
import { contradictions } from './route-contradictions.ts';
import { type RulePlaces, rulePlaces } from './rule-places.ts';
import type { RouteFile, TenantFile } from './tenant-file.ts';
import type { Upstream } from './upstream.ts';

/** Keys of a route that refuse. */
const RULES = ['match', 'allow', 'certificate', 'require', 'stream', 'limits', 'upgrade', 'tunnel'];

const MIN_RATE_GRACE_MS = 10_000;
const TUNNEL_IDLE_MS = 300_000;
const TUNNEL_LIFETIME_MS = 86_400_000;

/** Keys of `stream` that say which changes pass. */
const CONTENT = ['maxAbs', 'maxChanged', 'tensors'] as const;

interface Resolved {
  readonly pattern: PathPattern;
  readonly upstream: Upstream;
  readonly fallback?: Fallback;
}

/** Routes compiled in one go; between two goes all other work has its turn. */
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
      faults.push(places.at([...path, 'name'], `another route is named ${written.name}`));
    names.add(written.name);
    faults.push(...unaskedCertificates(places, file, written, path));
    const resolved = resolveNames(places, written, path, upstreams, faults);
    if (resolved === undefined) continue;
    const at = rulePlaces(places, path, RULES);
    const route = compileRoute(file, written, at, lists, resolved, shared);
    entries.push({ methods: written.match.methods, pattern: resolved.pattern, route });
  }
  return { routes: buildRouteTable(entries), faults };
}

/** Nobody shows a certificate that no handshake asks for. */
function unaskedCertificates(
  places: Places,
  { clientCertificates }: TenantFile,
  { certificate }: RouteFile,
  path: Path,
): PolicyFault[] {
  if (clientCertificates !== 'none' || certificate === undefined) return [];
  const problem = 'nobody can have one: the tenant asks for no certificates';
  return [places.at([...path, 'certificate'], problem, 'clientCertificates: optional or require')];
}

/** Everything the route refers to; what is not there becomes a fault. */
function resolveNames(
  places: Places,
  written: RouteFile,
  path: Path,
  upstreams: ReadonlyMap<string, Upstream>,
  faults: PolicyFault[],
): Resolved | undefined {
  const upstream = namedUpstream(places, written.upstream, [...path, 'upstream'], upstreams, faults);
  const fallback = resolveFallback(places, written, path, upstreams, faults);
  faults.push(...unknownLists(places, [...path, 'allow'], written.allow ?? []));
  faults.push(...idleKeys(places, written, path));
  if (written.require !== 'none' && places.keys(['issuers']).length === 0) {
    faults.push(places.at([...path, 'require'], 'asks for a token, but the tenant has no issuer'));
  }
  const pattern = parsePathPattern(written.match.path);
  if (typeof pattern === 'string') {
    faults.push(places.at([...path, 'match', 'path'], pattern));
    return undefined;
  }
  faults.push(...unknownParams(places, written, path, pattern));
  faults.push(...contradictions(places, written, path, pattern.params));
  const hashed = [upstream, fallback !== undefined && 'upstream' in fallback ? fallback.upstream : undefined];
  for (const each of hashed)
    if (each !== undefined) faults.push(...lackedParams(places, written, each, pattern));
  return upstream && { pattern, upstream, ...(fallback !== undefined && { fallback }) };
}

function namedUpstream(
  places: Places,
  name: string,
  path: Path,
  upstreams: ReadonlyMap<string, Upstream>,
  faults: PolicyFault[],
): Upstream | undefined {
  const known = places.keys(['upstreams']);
  if (!known.includes(name))
    faults.push(places.at(path, `there is no upstream ${name}`, known.join(', ') || undefined));
  return upstreams.get(name);
}

function resolveFallback(
  places: Places,
  { upstream, fallback }: RouteFile,
  path: Path,
  upstreams: ReadonlyMap<string, Upstream>,
  faults: PolicyFault[],
): Fallback | undefined {
  if (fallback === undefined) return undefined;
  if (typeof fallback !== 'string') {
    const { status, body, contentType } = fallback;
    return { status, fields: ['Content-Type', contentType], body: Buffer.from(body) };
  }
  const at = [...path, 'fallback'];
  if (fallback === upstream) faults.push(places.at(at, 'is the upstream itself', 'another, or an answer'));
  const found = namedUpstream(places, fallback, at, upstreams, faults);
  return found && { upstream: found };
}

/** Requests without what their node is chosen by would all go to one. */
function lackedParams(
  places: Places,
  { name }: RouteFile,
  upstream: Upstream,
  pattern: PathPattern,
): PolicyFault[] {
  if (upstream.balance !== 'hash') return [];
  const lacked = paramsOf(upstream.hashOn).filter((param) => !pattern.params.includes(param));
  const at = ['upstreams', upstream.name, 'hashOn'];
  return lacked.map((param) => places.at(at, `the path of the route ${name} has no {${param}}`));
}

/** Keys of `stream` that nothing would come of. */
function idleKeys(places: Places, { stream = { check: 'deep' } }: RouteFile, path: Path): PolicyFault[] {
  const keys = CONTENT.filter((key) => stream[key] !== undefined && stream.check !== 'values');
  const faults = keys.map((key) =>
    places.at([...path, 'stream', key], `is not looked at by check: ${stream.check}`, 'check: values'),
  );
  if (stream.format === undefined && places.keys([...path, 'stream']).includes('check')) {
    const problem = 'is of a weight patch, which the route does not ask for';
    faults.push(places.at([...path, 'stream', 'check'], problem, 'format: weight-patch'));
  }
  return faults;
}

function unknownParams(places: Places, written: RouteFile, path: Path, pattern: PathPattern): PolicyFault[] {
  if (written.require === 'none') return [];
  return Object.entries(written.require.claims).flatMap(([claim, value]) =>
    [value].flat().flatMap((text) => {
      const template = readTemplate(text);
      if ('literal' in template || pattern.params.includes(template.param)) return [];
      const problem = `the path has no {${template.param}}`;
      return [
        places.at(
          [...path, 'require', 'claims', claim],
          problem,
          pattern.params.map((each) => `{${each}}`).join(', ') || undefined,
        ),
      ];
    }),
  );
}

function compileRoute(
  file: TenantFile,
  written: RouteFile,
  places: RulePlaces,
  lists: AddressLists,
  { upstream, fallback }: Resolved,
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

/** What routes ask for alike is one object: what a thousand of them share stays at hand. */
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

/** `{name}` is a path parameter, anything else stands for itself. */
function readTemplate(value: string | number | boolean): ClaimTemplate {
  const text = String(value);
  const [, param] = /^\{([A-Za-z_][A-Za-z0-9_]*)\}$/.exec(text) ?? [];
  return param === undefined ? { literal: text } : { param };
}
