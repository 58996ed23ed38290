/** Describes what each step of a decision examined and found, with the lines of the policy that it applied. */

import type { Denial, Step } from '../core/denial.ts';
import type { CertificateFacts, VerifiedCertificate } from '../core/facts.ts';
import type { RouteParams } from '../core/route-table.ts';
import type { Grant } from '../core/scope.ts';
import type { Trail } from '../decide.ts';
import type { VerifiedToken } from '../keys/token-memory.ts';
import type { ClientCertificateMode } from '../policy/gateway-settings.ts';
import {
  type AddressList,
  type ClaimTemplate,
  certificateMode,
  listenerOf,
  type Policy,
  type Route,
  type Tenant,
} from '../policy/policy.ts';
import { describeHops, describeMatches } from './describe-addresses.ts';
import { describeLimits } from './describe-limits.ts';
import type { HypotheticalRequest } from './hypothetical-request.ts';
import type { Decided } from './rehearsal.ts';

/** Returns `file:line` of the rule that a denial names, if known. */
export function rulePlace({ rule }: Denial, { tenant, route }: Trail): string | undefined {
  if (rule === undefined) return undefined;
  return rule.startsWith('tenant.')
    ? tenant?.places.of(rule.slice('tenant.'.length))
    : route?.places.of(rule);
}

type Describe = (request: HypotheticalRequest, decided: Decided, policy: Policy) => readonly string[];

const describers: Readonly<Partial<Record<Step, Describe>>> = {
  head: ({ method, target, fields, bodyBytes }) => [
    `${method} ${target}, ${fields.length / 2} field${fields.length === 2 ? '' : 's'}, ${bodyBytes === undefined ? 'no body' : `${bodyBytes} bytes`}`,
  ],
  route: (_request, { trail }) => describeRoute(trail),
  client: ({ listener }, { trail }, policy) =>
    trail.client === undefined ? [] : describeHops(listenerOf(policy, listener).trustedProxies, trail.client),
  allowlist: (_request, { trail }) => describeAllowlist(trail),
  certificate: ({ certificate, listener }, { trail: { tenant, route } }, policy) => [
    ...(tenant === undefined ? [] : describeShown(certificate, certificateMode(policy, tenant, listener))),
    ...(route === undefined ? [] : describeNames(route)),
  ],
  token: ({ token, fields }, { trail }) =>
    describeToken(token !== undefined || has(fields, 'authorization'), trail),
  scope: (_request, { trail }) => describeScope(trail),
  claims: (_request, { trail }) => describeClaims(trail),
  limits: (_request, { trail }) => describeLimits(trail),
};

/** Returns one text per line; none if the step has nothing to describe. */
export function describeStep(
  step: Step,
  policy: Policy,
  request: HypotheticalRequest,
  decided: Decided,
): readonly string[] {
  return describers[step]?.(request, decided, policy) ?? [];
}

function describeRoute({ tenant, route, params }: Trail): readonly string[] {
  if (tenant === undefined) return [];
  if (route === undefined) return [`tenant ${tenant.name}`];
  const found = Object.entries(params ?? {}).map(([name, value]) => `${name} ${value}`);
  const mode = route.shadow ? ', in shadow' : '';
  return [
    [`tenant ${tenant.name}, route ${route.name} (${route.places.of('match')})${mode}`, ...found].join(', '),
  ];
}

function describeAllowlist({ tenant, route, client }: Trail): readonly string[] {
  if (tenant === undefined || client === undefined) return [];
  const { address } = client;
  const ofTenant = describeMatches(tenant.addresses, address);
  const ofRoute = route?.addresses === undefined ? [] : describeMatches(route.addresses, address);
  const asked = [
    ...named('the tenant denies', tenant.addresses.deny, tenant.places.of('deny')),
    ...named('the tenant allows', tenant.addresses.allow, tenant.places.of('allow')),
  ];
  const narrowed = named('the route allows', route?.addresses?.allow, route?.places.of('allow') ?? '');
  const none = asked.length + narrowed.length === 0 ? ['no address lists apply'] : [];
  return [...asked, ...ofTenant, ...narrowed, ...ofRoute, ...none];
}

function named(does: string, lists: readonly AddressList[] = [], place: string): readonly string[] {
  return lists.length === 0 ? [] : [`${does} ${lists.map(({ name }) => name).join(', ')} (${place})`];
}

function describeShown(certificate: CertificateFacts, mode: ClientCertificateMode): readonly string[] {
  if (mode === 'none') return ['the server name requests no certificate, so none is presented'];
  const shown = describeCertificate(certificate);
  if (mode === 'optional' || certificate.status === 'verified') return [shown];
  return [shown, 'the server name requires a valid one: the handshake fails, and no answer is sent'];
}

function describeCertificate(certificate: CertificateFacts): string {
  if (certificate.status === 'absent') return 'none presented';
  if (certificate.status === 'refused') return `not valid: ${certificate.reason}`;
  return describeVerified(certificate);
}

function describeVerified({
  subject,
  alternativeNames,
  serialNumber,
  fingerprint,
}: VerifiedCertificate): string {
  const names = alternativeNames === '' ? '' : `, ${alternativeNames}`;
  return `${subject}${names}, serial ${serialNumber}, sha256 ${fingerprint.slice(0, 16)}…`;
}

function describeNames({ certificateNames, places }: Route): readonly string[] {
  if (certificateNames === undefined) return [];
  return [`the route accepts ${certificateNames.join(', ')} (${places.of('certificate.names')})`];
}

function describeToken(isThere: boolean, { tenant, route, token }: Trail): readonly string[] {
  if (route !== undefined && route.require === undefined)
    return [`none required (${route.places.of('require')})`];
  if (token === undefined) return [isThere ? 'one presented' : 'none presented'];
  const { issuer, subject, jti, expMs, thumbprint } = token;
  const parts = [
    `issuer ${issuer} (${tenant?.places.of(`issuers.${issuer}`)})`,
    `sub ${subject}`,
    ...(jti === undefined ? [] : [`jti ${jti}`]),
    `until ${new Date(expMs).toISOString()}`,
    thumbprint === undefined ? 'not bound to a certificate' : 'bound to the certificate',
  ];
  return [parts.join(', ')];
}

const grantText = ({ scope, model }: Grant): string => (model === undefined ? scope : `${scope}:${model}`);

function describeScope({ tenant, route, params, token }: Trail): readonly string[] {
  const require = route?.require;
  if (require === undefined || token === undefined || tenant === undefined) return [];
  const model = params?.['model_id'];
  const on = model === undefined ? '' : ` on ${model}`;
  const held = token.grants.map(grantText).join(', ') || 'nothing';
  return [
    `the route requires ${require.scope}${on} (${route?.places.of('require.scope')})`,
    `the token grants ${held}${describeInclusions(tenant, token)}`,
  ];
}

function describeInclusions({ inclusions, places }: Tenant, { grants }: VerifiedToken): string {
  const scopes = [...new Set(grants.map(({ scope }) => scope))];
  const included = scopes.flatMap((scope) => {
    const further = [...(inclusions.get(scope) ?? [])];
    return further.length === 0 ? [] : [`${scope} includes ${further.join(', ')}`];
  });
  const place = places.rules.includes('scopes') ? places.of('scopes') : 'the default';
  return included.length === 0 ? '' : `; ${included.join('; ')} (${place})`;
}

function describeClaims({ route, params, token }: Trail): readonly string[] {
  const require = route?.require;
  if (require === undefined || token === undefined) return [];
  const asked = [...require.claims].map(([name, templates]) => {
    const expected = expectedValues(templates, params ?? {}).join(' or ');
    const value = Object.hasOwn(token.claims, name) ? JSON.stringify(token.claims[name]) : 'no such claim';
    return `${name}: ${expected} required (${route?.places.of(`require.claims.${name}`)}), the token has ${value}`;
  });
  if (require.maxEpochs !== undefined) {
    const place = route?.places.of('require.maxEpochs');
    asked.push(`max_epochs: at most ${require.maxEpochs} (${place}), the token has ${epochs(token)}`);
  }
  return asked.length === 0 ? ['the route requires none'] : asked;
}

function epochs({ maxEpochs }: VerifiedToken): string {
  return Number.isFinite(maxEpochs) ? String(maxEpochs) : 'no limit';
}

/** Returns the acceptable values of a claim, with the parameters of the path filled in. */
export function expectedValues(templates: readonly ClaimTemplate[], params: RouteParams): readonly string[] {
  return templates.map((each) =>
    'param' in each ? (params[each.param] ?? `{${each.param}}`) : each.literal,
  );
}

/** Whether `fields` (name, value, name, value …) has one with this lower-case name. */
function has(fields: readonly string[], name: string): boolean {
  return fields.some((field, at) => at % 2 === 0 && field.toLowerCase() === name);
}
