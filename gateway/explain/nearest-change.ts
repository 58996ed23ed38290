/** Finds the nearest change that would let a refused request pass, by deciding the changed request. */

import { holds } from '../checks/allowlist.ts';
import { type Address, addressOf } from '../core/address.ts';
import { type Denial, type DenialCode, isDenial } from '../core/denial.ts';
import type { Trail } from '../decide.ts';
import { UPGRADE_FIELDS } from '../http1/websocket.ts';
import { WEIGHT_PATCH_TYPE } from '../patch/layout.ts';
import type { AddressList, Route, Tenant } from '../policy/policy.ts';
import { certificateFromFields } from './certificate-from-fields.ts';
import { expectedValues } from './describe-step.ts';
import type { HypotheticalRequest } from './hypothetical-request.ts';
import type { Decided, Rehearsal } from './rehearsal.ts';

/** One change to a request. */
interface Change {
  /** Completes "would pass with …". */
  readonly words: string;
  readonly request: HypotheticalRequest;
}

/** Ends the search; a request rarely needs more than one change per step. */
const MAX_CHANGES = 10;
/** Prefixes tried to find an allowed address. */
const MAX_PREFIXES = 1000;
const LIFE_S = 300;
const SHA_256_BYTES = 32;

/**
 * Resolves to changes that together let the request pass, as verified by deciding it with them; undefined if none are
 * found. Changes of the policy are not proposed.
 */
export async function nearestChange(
  rehearsal: Rehearsal,
  original: HypotheticalRequest,
  decided: Decided,
): Promise<readonly string[] | undefined> {
  const words: string[] = [];
  let { decision, trail } = decided;
  let request = original;
  while (words.length < MAX_CHANGES) {
    const objection = isDenial(decision) ? decision : decision.shadowed;
    if (objection === undefined) return words;
    const change = proposals[objection.code]?.(request, trail, objection);
    if (change === undefined || words.includes(change.words)) return undefined;
    words.push(change.words);
    request = change.request;
    ({ decision, trail } = await rehearsal.decide(request));
  }
  return undefined;
}

type Propose = (request: HypotheticalRequest, trail: Trail, denial: Denial) => Change | undefined;

const otherToken: Propose = (request, trail) => proposeToken(request, trail);
const otherCertificate: Propose = (request, { route }) => proposeCertificate(request, route);

const proposals: Readonly<Partial<Record<DenialCode, Propose>>> = {
  'method-not-allowed': (request, _trail, { allow = [] }) =>
    allow[0] === undefined
      ? undefined
      : { words: `the method ${allow.join(' or ')}`, request: { ...request, method: allow[0] } },
  'address-denied': (request, { tenant, route }) => proposeAddress(request, tenant, route),
  'upgrade-required': (request) => proposeUpgrade(request),
  'certificate-required': otherCertificate,
  'certificate-denied': otherCertificate,
  'token-missing': otherToken,
  'token-malformed': otherToken,
  'token-invalid': otherToken,
  'token-expired': otherToken,
  'token-revoked': otherToken,
  'token-unbound': (request, trail) => proposeBinding(request, trail),
  'insufficient-scope': (request, trail) => proposeScope(request, trail),
  'claim-denied': (request, trail, { rule = '' }) => proposeClaim(request, trail, rule),
  'body-too-large': (request, { route }) =>
    route?.stream?.maxBytes === undefined
      ? undefined
      : {
          words: `a body of at most ${route.stream.maxBytes} bytes`,
          request: { ...request, bodyBytes: route.stream.maxBytes },
        },
  'bad-request': (request, _trail, { rule }) =>
    rule === 'stream.format' ? proposePatch(request) : undefined,
};

/** Proposes the first listed prefix whose first address passes the address checks. */
function proposeAddress(
  request: HypotheticalRequest,
  tenant: Tenant | undefined,
  route: Route | undefined,
): Change | undefined {
  const lists = route?.addresses?.allow ?? tenant?.addresses.allow ?? [];
  const rules = [tenant?.addresses, route?.addresses];
  for (const { prefix, place, address } of prefixesOf(lists)) {
    const fits = rules.every((each) => {
      const denied = each?.deny?.some((list) => holds(list, address)) === true;
      return !denied && (each?.allow === undefined || each.allow.some((list) => holds(list, address)));
    });
    if (!fits) continue;
    const { forwarded: _forwarded, client: _client, ...direct } = request;
    return { words: `a client in ${prefix} (${place})`, request: { ...direct, peer: address } };
  }
  return undefined;
}

function* prefixesOf(
  lists: readonly AddressList[],
): Generator<{ readonly prefix: string; readonly place: string; readonly address: Address }> {
  let left = MAX_PREFIXES;
  for (const { parts } of lists) {
    for (const { contents } of parts) {
      for (const { family, words, bits, number } of contents?.tree.entries() ?? []) {
        if (left-- <= 0) return;
        const address = addressOf(family, words);
        yield { prefix: `${address.text}/${bits}`, place: contents?.placeOf(number) ?? '', address };
      }
    }
  }
}

function proposeCertificate(request: HypotheticalRequest, route: Route | undefined): Change {
  const [name] = route?.certificateNames ?? [];
  const named = name === undefined ? '' : ` and has the name ${name}`;
  const certificate = certificateFromFields({
    subject: '',
    alternativeNames: '',
    dnsNames: name === undefined ? [] : [name],
    uris: name === undefined ? [] : [name],
    emails: [],
    serialNumber: 'none',
    fingerprint: Buffer.alloc(SHA_256_BYTES).toString('hex'),
  });
  return {
    words: `a client certificate that is valid for ${request.serverName}${named}`,
    request: { ...request, certificate },
  };
}

type Claims = Readonly<Record<string, unknown>>;

function withClaims(request: HypotheticalRequest, claims: Claims): HypotheticalRequest {
  return { ...request, token: { kind: 'claims', claims } };
}

/** Proposes a fresh token of the first issuer with the required scope; the next round finds what else it lacks. */
function proposeToken(request: HypotheticalRequest, { tenant, route }: Trail): Change | undefined {
  const [issuer] = tenant?.issuers ?? [];
  if (issuer === undefined) return undefined;
  const nowS = Math.floor(request.nowMs / 1000);
  const claims = {
    iss: issuer.issuer,
    aud: issuer.audience,
    sub: 'someone',
    iat: nowS,
    exp: nowS + LIFE_S,
    scope: route?.require?.scope ?? '',
  };
  const names = tenant?.issuers.map(({ name }) => name).join(' or ');
  return {
    words: `a currently valid token of issuer ${names} with the scope \`${claims.scope}\``,
    request: withClaims(request, claims),
  };
}

/** Claims of the verified token, or else those assumed for the request. */
function claimsOf({ token: assumed }: HypotheticalRequest, { token }: Trail): Claims | undefined {
  return token?.claims ?? (assumed?.kind === 'claims' ? assumed.claims : undefined);
}

function proposeBinding(request: HypotheticalRequest, trail: Trail): Change | undefined {
  const { certificate } = trail;
  const claims = claimsOf(request, trail);
  if (certificate === undefined) return proposeCertificate(request, trail.route);
  if (claims === undefined) return proposeToken(request, trail);
  return {
    words: 'a token bound to the presented certificate',
    request: withClaims(request, { ...claims, cnf: { 'x5t#S256': certificate.thumbprint } }),
  };
}

function proposeScope(request: HypotheticalRequest, trail: Trail): Change | undefined {
  const claims = claimsOf(request, trail);
  const scope = trail.route?.require?.scope;
  if (claims === undefined || scope === undefined) return undefined;
  const model = trail.params?.['model_id'];
  const narrower = model === undefined ? '' : `, or \`${scope}:${model}\``;
  const { scp: _scp, ...others } = claims;
  return { words: `the scope \`${scope}\`${narrower}`, request: withClaims(request, { ...others, scope }) };
}

function proposeClaim(request: HypotheticalRequest, trail: Trail, rule: string): Change | undefined {
  const claims = claimsOf(request, trail);
  const require = trail.route?.require;
  if (claims === undefined || require === undefined) return undefined;
  if (rule === 'require.maxEpochs') {
    const { maxEpochs } = require;
    return {
      words: `max_epochs of at most ${maxEpochs}`,
      request: withClaims(request, { ...claims, max_epochs: maxEpochs }),
    };
  }
  const name = rule.slice('require.claims.'.length);
  const implied = name === 'target_version' ? 'version' : name;
  const templates = require.claims.get(name) ?? [{ param: implied }];
  const values = expectedValues(templates, trail.params ?? {});
  const [value] = values;
  return {
    words: `the claim ${name} = ${values.join(' or ')}`,
    request: withClaims(request, { ...claims, [name]: value }),
  };
}

function proposePatch(request: HypotheticalRequest): Change {
  const fields = request.fields.filter(
    (_, at) => request.fields[at - (at % 2)]?.toLowerCase() !== 'content-type',
  );
  return {
    words: `a weight patch as its body (Content-Type: ${WEIGHT_PATCH_TYPE})`,
    request: {
      ...request,
      bodyBytes: request.bodyBytes ?? 1,
      fields: [...fields, 'Content-Type', WEIGHT_PATCH_TYPE],
    },
  };
}

function proposeUpgrade(request: HypotheticalRequest): Change {
  const replaced = new Set(UPGRADE_FIELDS.filter((_, at) => at % 2 === 0).map((name) => name.toLowerCase()));
  const fields = request.fields.filter(
    (_, at) => !replaced.has(request.fields[at - (at % 2)]?.toLowerCase() ?? ''),
  );
  return {
    words: 'a WebSocket handshake',
    request: { ...request, fields: [...fields, ...UPGRADE_FIELDS] },
  };
}
