/** The decision: may this caller do this to that model? A straight line of checks, cheap and local ones first. */

import { checkAllowlist } from './checks/allowlist.ts';
import { checkCertificate } from './checks/certificate.ts';
import { checkClaims } from './checks/claims.ts';
import { checkClient } from './checks/client.ts';
import { checkLimits } from './checks/limits.ts';
import { checkRoute, checkTenant, type Routed } from './checks/route.ts';
import { checkScope } from './checks/scope.ts';
import { checkToken } from './checks/token.ts';
import { type Denial, isDenial } from './core/denial.ts';
import type { Facts, VerifiedCertificate } from './core/facts.ts';
import type { ClientAddress } from './core/forwarded.ts';
import type { RouteParams } from './core/route-table.ts';
import type { PatchExpectation } from './patch/check.ts';
import { listenerOf, type Policy, type Route, type Tenant } from './policy/policy.ts';
import type { VerifiedToken } from './policy/token-memory.ts';

/** Yes, and everything that was found out on the way. */
export interface Admission {
  readonly kind: 'admission';
  readonly tenant: Tenant;
  readonly route: Route;
  readonly params: RouteParams;
  readonly connectionOptions: readonly string[];
  readonly client: ClientAddress;
  readonly certificate: VerifiedCertificate | undefined;
  /** Absent on a route that asks for none. */
  readonly token: VerifiedToken | undefined;
  /** What a weight patch on this route must say of itself. */
  readonly patch: PatchExpectation;
}

export type Decision = Admission | Denial;

/** What the decision found so far, for the log and for explanations; a spectator that decides nothing. */
export interface Trail {
  tenant?: Tenant;
  route?: Route;
  params?: RouteParams;
  client?: ClientAddress;
  token?: VerifiedToken;
}

/** Plain data in, admission or denial out. A promise only for a token that was not seen before. */
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

  const refusedAddress = checkAllowlist(tenant, routed.route, client.address);
  if (refusedAddress !== undefined) return refusedAddress;

  const required =
    (tenant.clientCertificates ?? listenerOf(policy, facts.connection.listener).clientCertificates) ===
    'require';
  const certificate = checkCertificate(tenant, routed.route, required, facts.connection.certificate);
  if (isDenial(certificate)) return certificate;

  const known = { routed, client, certificate, facts, trail };
  if (routed.route.require === undefined) return admit(known, undefined);
  const token = checkToken(tenant, routed.route.require, facts, certificate);
  return token instanceof Promise ? token.then((each) => authorize(known, each)) : authorize(known, token);
}

interface Known {
  readonly routed: Routed;
  readonly client: ClientAddress;
  readonly certificate: VerifiedCertificate | undefined;
  readonly facts: Facts;
  readonly trail: Trail;
}

/** What the token allows, once it is there. */
function authorize(known: Known, token: VerifiedToken | Denial): Decision {
  if (isDenial(token)) return token;
  known.trail.token = token;
  const { tenant, route, params } = known.routed;
  if (route.require === undefined) return admit(known, token);

  const refusedScope = checkScope(tenant, route.require, token, params['model_id']);
  if (refusedScope !== undefined) return refusedScope;

  const refusedClaims = checkClaims(route.require, token, params);
  if (refusedClaims !== undefined) return refusedClaims;

  return admit(known, token);
}

function admit(known: Known, token: VerifiedToken | undefined): Decision {
  const { routed, client, certificate, facts } = known;
  const refusedSize = checkLimits(routed.route, facts.head);
  if (refusedSize !== undefined) return refusedSize;
  return { kind: 'admission', ...routed, client, certificate, token, patch: patchExpectation(routed, token) };
}

/** A patch must say of itself what the path and the token say of it. */
function patchExpectation({ route, params }: Routed, token: VerifiedToken | undefined): PatchExpectation {
  const modelId = params['model_id'] ?? token?.modelId;
  return {
    ...(modelId !== undefined && { modelId }),
    ...(token?.targetVersion !== undefined && { targetVersion: token.targetVersion }),
    ...(token !== undefined && Number.isFinite(token.maxEpochs) && { maxEpoch: token.maxEpochs }),
    ...(route.stream?.maxBytes !== undefined && { maxBytes: route.stream.maxBytes }),
  };
}
