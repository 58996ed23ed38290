/** The decision: may this caller do this to that model? A straight line of checks, cheap and local ones first. */

import { checkAllowlist } from './checks/allowlist.ts';
import { checkCertificate } from './checks/certificate.ts';
import { checkClaims } from './checks/claims.ts';
import { checkClient } from './checks/client.ts';
import { checkLimits } from './checks/limits.ts';
import { readResumption } from './checks/resumption.ts';
import { checkRoute, checkTenant, type Routed } from './checks/route.ts';
import { checkScope } from './checks/scope.ts';
import { checkToken } from './checks/token.ts';
import { parseDecimal } from './core/decimal.ts';
import { type Denial, type DenialCode, isDenial } from './core/denial.ts';
import type { Facts, VerifiedCertificate } from './core/facts.ts';
import type { ClientAddress } from './core/forwarded.ts';
import type { RouteParams } from './core/route-table.ts';
import type { VerifiedToken } from './keys/token-memory.ts';
import type { PatchExpectation } from './patch/check.ts';
import { certificateMode, type Policy, type Requirement, type Route, type Tenant } from './policy/policy.ts';

/** The request is admitted, with everything found on the way. */
export interface Admission {
  readonly kind: 'admission';
  readonly tenant: Tenant;
  readonly route: Route;
  readonly params: RouteParams;
  readonly connectionOptions: readonly string[];
  readonly client: ClientAddress;
  readonly certificate: VerifiedCertificate | undefined;
  /** Absent on a route that requires none and, in shadow, if it was missing or refused. */
  readonly token: VerifiedToken | undefined;
  /** What a weight patch on this route must declare. */
  readonly patch: PatchExpectation;
  /** Why the request would be refused if the route were not in shadow. */
  readonly shadowed: Denial | undefined;
}

export type Decision = Admission | Denial;

/** What the decision found so far: for the log, for `explain`, and for an admission in shadow. */
export interface Trail {
  tenant?: Tenant;
  route?: Route;
  params?: RouteParams;
  client?: ClientAddress;
  certificate?: VerifiedCertificate;
  token?: VerifiedToken;
  /** Why the request would be refused if the route were not in shadow; limits may still refuse it. */
  shadowed?: Denial;
}

/**
 * Plain data in, admission or denial out; a promise only for a token not seen before. On a route in shadow, a denial of
 * the caller becomes part of the admission.
 */
export function decide(policy: Policy, facts: Facts, trail: Trail = {}): Decision | Promise<Decision> {
  const tenant = checkTenant(policy, facts);
  if (isDenial(tenant)) return tenant;
  trail.tenant = tenant;

  const routed = checkRoute(tenant, facts);
  if (isDenial(routed)) return routed;
  trail.route = routed.route;
  trail.params = routed.params;

  const client = checkClient(policy, facts);
  if (isDenial(client)) return client;
  trail.client = client;

  const known = { routed, client, facts, trail };
  const caller = checkCaller(policy, known);
  return caller instanceof Promise ? caller.then((each) => admit(known, each)) : admit(known, caller);
}

/** What is known before the caller is checked. */
interface Known {
  readonly routed: Routed;
  readonly client: ClientAddress;
  readonly facts: Facts;
  readonly trail: Trail;
}

/** Checks who is calling: address, certificate and token. */
function checkCaller(policy: Policy, known: Known): Denial | undefined | Promise<Denial | undefined> {
  const { routed, client, facts, trail } = known;
  const { tenant, route } = routed;
  const refusedAddress = checkAllowlist(tenant, route, client.address);
  if (refusedAddress !== undefined) return refusedAddress;

  const { listener, certificate: shown } = facts.connection;
  const required = certificateMode(policy, tenant, listener) === 'require';
  const certificate = checkCertificate(tenant, route, required, shown, facts.nowMs);
  if (isDenial(certificate)) return certificate;
  if (certificate !== undefined) trail.certificate = certificate;

  const { require: requirement } = route;
  if (requirement === undefined) return undefined;
  const bearer = { address: client.address, certificate };
  const token = checkToken(tenant, requirement, facts, bearer);
  return token instanceof Promise
    ? token.then((each) => authorize(known, requirement, each))
    : authorize(known, requirement, token);
}

/** Checks what the token allows. */
function authorize(
  { routed, trail }: Known,
  requirement: Requirement,
  token: VerifiedToken | Denial,
): Denial | undefined {
  if (isDenial(token)) return token;
  trail.token = token;
  const { tenant, params } = routed;
  return (
    checkScope(tenant, requirement, token, params['model_id']) ?? checkClaims(requirement, token, params)
  );
}

/** The last checks, of what the head declares. In shadow, the denial is added to the admission. */
function admit({ routed, client, facts, trail }: Known, refused: Denial | undefined): Decision {
  if (refused !== undefined && !routed.route.shadow) return refused;
  if (refused !== undefined) trail.shadowed = refused;
  const refusedHead = checkLimits(routed.route, facts.head);
  if (refusedHead !== undefined) return refusedHead;
  const resumeAt = readResumption(routed.route, facts.head);
  if (isDenial(resumeAt)) return resumeAt;
  const { tenant, route, params, connectionOptions } = routed;
  const { certificate, token } = trail;
  return {
    kind: 'admission',
    tenant,
    route,
    params,
    connectionOptions,
    client,
    certificate,
    token,
    patch: patchExpectation(routed, token, resumeAt),
    shadowed: refused,
  };
}

/** The issuer of a token not seen before, empty if unknown, and the outcome of its verification. */
export function verificationOf(
  decision: Decision,
  { token, shadowed }: Trail,
): { readonly issuer: string; readonly outcome: 'verified' | DenialCode } {
  const refused = shadowed ?? (isDenial(decision) ? decision : undefined);
  if (token !== undefined || refused === undefined)
    return { issuer: token?.issuer ?? '', outcome: 'verified' };
  return { issuer: refused.issuer ?? '', outcome: refused.code };
}

const NO_PATCH: PatchExpectation = {};

/** A patch must declare what the path and the token say about it. */
export function patchExpectation(
  { route, params }: Pick<Routed, 'route' | 'params'>,
  token: VerifiedToken | undefined,
  resumeAt?: number,
): PatchExpectation {
  if (route.stream?.format === undefined) return NO_PATCH;
  return {
    modelId: params['model_id'] ?? token?.modelId,
    baseVersion: versionOf(params['base_version']) ?? token?.baseVersion,
    targetVersion: versionOf(params['version']) ?? token?.targetVersion,
    maxEpoch: token !== undefined && Number.isFinite(token.maxEpochs) ? token.maxEpochs : undefined,
    maxBytes: route.stream?.maxBytes,
    content: route.stream?.content,
    resumeAt,
  };
}

/** The version in a path; NaN, which matches no patch, if it is not a number. */
function versionOf(param: string | undefined): number | undefined {
  if (param === undefined) return undefined;
  return parseDecimal(param) ?? Number.NaN;
}
