/** Resolves the names that a route uses, and finds the faults in them. */

import type { PolicyFault } from '../core/fault.ts';
import { paramsOf } from '../core/path-template.ts';
import { type PathPattern, parsePathPattern } from '../core/route-table.ts';
import { unknownLists } from './address-lists.ts';
import { readTemplate } from './claim-template.ts';
import type { Path, Places } from './places.ts';
import type { ClaimTemplate, Fallback } from './policy.ts';
import { contradictions } from './route-contradictions.ts';
import type { RouteFile } from './tenant-file.ts';
import type { Upstream } from './upstream.ts';

/** Keys of `stream` that only `check: values` uses. */
const CONTENT = ['maxAbs', 'maxChanged', 'tensors'] as const;

/** What the names in a route refer to. */
export interface ResolvedRoute {
  readonly pattern: PathPattern;
  readonly upstream: Upstream;
  readonly fallback?: Fallback;
}

/** Resolves everything the route refers to and adds a fault for whatever is missing. */
export function resolveRoute(
  places: Places,
  written: RouteFile,
  path: Path,
  upstreams: ReadonlyMap<string, Upstream>,
  faults: PolicyFault[],
): ResolvedRoute | undefined {
  const upstream = namedUpstream(places, written.upstream, [...path, 'upstream'], upstreams, faults);
  const fallback = resolveFallback(places, written, path, upstreams, faults);
  faults.push(...unknownLists(places, [...path, 'allow'], written.allow ?? []));
  faults.push(...idleKeys(places, written, path));
  if (written.require !== 'none' && places.keys(['issuers']).length === 0) {
    faults.push(places.at([...path, 'require'], 'requires a token, but the tenant has no issuer'));
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
    faults.push(places.at(path, `unknown upstream ${name}`, known.join(', ') || undefined));
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
  if (fallback === upstream)
    faults.push(places.at(at, 'is the upstream of the route itself', 'another upstream, or an answer'));
  const found = namedUpstream(places, fallback, at, upstreams, faults);
  return found && { upstream: found };
}

/** Finds missing parameters of `hashOn`: without them, all requests would go to one node. */
function lackedParams(
  places: Places,
  { name }: RouteFile,
  upstream: Upstream,
  pattern: PathPattern,
): PolicyFault[] {
  if (upstream.balance !== 'hash') return [];
  const lacked = paramsOf(upstream.hashOn).filter((param) => !pattern.params.includes(param));
  const at = ['upstreams', upstream.name, 'hashOn'];
  return lacked.map((param) => places.at(at, `the path of route ${name} has no {${param}}`));
}

/** Finds keys of `stream` that have no effect. */
function idleKeys(places: Places, { stream = { check: 'deep' } }: RouteFile, path: Path): PolicyFault[] {
  const keys = CONTENT.filter((key) => stream[key] !== undefined && stream.check !== 'values');
  const faults = keys.map((key) =>
    places.at([...path, 'stream', key], `has no effect with check: ${stream.check}`, 'check: values'),
  );
  if (stream.format === undefined && places.keys([...path, 'stream']).includes('check')) {
    const problem = 'applies only to weight patches';
    faults.push(places.at([...path, 'stream', 'check'], problem, 'format: weight-patch'));
  }
  return faults;
}

function unknownParams(places: Places, written: RouteFile, path: Path, pattern: PathPattern): PolicyFault[] {
  if (written.require === 'none') return [];
  const expected = pattern.params.map((each) => `{${each}}`).join(', ') || undefined;
  return Object.entries(written.require.claims).flatMap(([claim, value]) => {
    const problems = [value].flat().flatMap((text) => templateProblem(readTemplate(text), pattern) ?? []);
    return problems.map((problem) => places.at([...path, 'require', 'claims', claim], problem, expected));
  });
}

/** Braces compared literally would refuse every token. */
function templateProblem(template: ClaimTemplate, { params }: PathPattern): string | undefined {
  if ('literal' in template)
    return /[{}]/.test(template.literal) ? `'${template.literal}' is not a parameter of the path` : undefined;
  return params.includes(template.param) ? undefined : `the path has no {${template.param}}`;
}
