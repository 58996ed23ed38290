/** The nearest change of a refused request that would let it pass, found by deciding the changed request. */

import { WEIGHT_PATCH_TYPE } from '../checks/limits.ts';
import { type Address, addressOf } from '../core/address.ts';
import { type Denial, type DenialCode, isDenial } from '../core/denial.ts';
import type { Trail } from '../decide.ts';
import { HANDSHAKE_FIELDS } from '../http1/handshake.ts';
import type { AddressList, Route, Tenant } from '../policy/policy.ts';
import { expectedValues } from './describe-step.ts';
import { describedCertificate } from './described-certificate.ts';
import type { Decided, Rehearsal } from './rehearsal.ts';
import type { ToldRequest } from './told-request.ts';

/** One thing to do otherwise. */
interface Change {
  /** As in "would pass with …". */
  readonly words: string;
  readonly request: ToldRequest;
}

/** A request can be wrong in as many ways as there are steps. */
const MOST_CHANGES = 10;
/** Prefixes tried for an address that is allowed. */
const MOST_PREFIXES = 1000;
const LIFE_S = 300;
const SHA_256_BYTES = 32;

/** Changes that make it pass together, each tried; nothing where no change of the request alone would do. */
export async function nearestChange(
  rehearsal: Rehearsal,
  told: ToldRequest,
  decided: Decided,
): Promise<readonly string[] | undefined> {
  const words: string[] = [];
  let { decision, trail } = decided;
  let request = told;
  while (words.length < MOST_CHANGES) {
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

type Propose = (told: ToldRequest, trail: Trail, denial: Denial) => Change | undefined;

const otherToken: Propose = (told, trail) => proposeToken(told, trail);
const otherCertificate: Propose = (told, { route }) => proposeCertificate(told, route);

const proposals: Readonly<Partial<Record<DenialCode, Propose>>> = {
  'method-not-allowed': (told, _trail, { allow = [] }) =>
    allow[0] === undefined
      ? undefined
      : { words: `the method ${allow.join(' or ')}`, request: { ...told, method: allow[0] } },
  'address-denied': (told, { tenant, route }) => proposeAddress(told, tenant, route),
  'upgrade-required': (told) => proposeHandshake(told),
  'certificate-required': otherCertificate,
  'certificate-denied': otherCertificate,
  'token-missing': otherToken,
  'token-malformed': otherToken,
  'token-invalid': otherToken,
  'token-expired': otherToken,
  'token-revoked': otherToken,
  'token-unbound': (told, trail) => proposeBinding(told, trail),
  'insufficient-scope': (told, trail) => proposeScope(told, trail),
  'claim-denied': (told, trail, { rule = '' }) => proposeClaim(told, trail, rule),
  'body-too-large': (told, { route }) =>
    route?.stream?.maxBytes === undefined
      ? undefined
      : {
          words: `a body of ${route.stream.maxBytes} bytes at most`,
          request: { ...told, bodyBytes: route.stream.maxBytes },
        },
  'bad-request': (told, _trail, { rule }) => (rule === 'stream.format' ? proposePatch(told) : undefined),
};

/** The first prefix of the lists from which the address checks let a caller in. */
function proposeAddress(
  told: ToldRequest,
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
    const { forwarded: _forwarded, client: _client, ...direct } = told;
    return { words: `a client in ${prefix} (${place})`, request: { ...direct, peer: address } };
  }
  return undefined;
}

const holds = ({ parts }: AddressList, address: Address): boolean =>
  parts.some(({ contents }) => contents?.tree.contains(address));

function* prefixesOf(
  lists: readonly AddressList[],
): Generator<{ readonly prefix: string; readonly place: string; readonly address: Address }> {
  let left = MOST_PREFIXES;
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

function proposeCertificate(told: ToldRequest, route: Route | undefined): Change {
  const [name] = route?.certificateNames ?? [];
  const named = name === undefined ? '' : ` that has the name ${name}`;
  const certificate = describedCertificate({
    subject: '',
    alternativeNames: '',
    dnsNames: name === undefined ? [] : [name],
    uris: name === undefined ? [] : [name],
    emails: [],
    serialNumber: 'none',
    fingerprint: Buffer.alloc(SHA_256_BYTES).toString('hex'),
  });
  return {
    words: `a client certificate that holds for ${told.serverName}${named}`,
    request: { ...told, certificate },
  };
}

type Claims = Readonly<Record<string, unknown>>;

function withClaims(told: ToldRequest, claims: Claims): ToldRequest {
  return { ...told, token: { kind: 'claims', claims } };
}

/** A fresh token of the first issuer, with the scope that is asked for; what else it lacks is found in the next round. */
function proposeToken(told: ToldRequest, { tenant, route }: Trail): Change | undefined {
  const [issuer] = tenant?.issuers ?? [];
  if (issuer === undefined) return undefined;
  const nowS = Math.floor(told.nowMs / 1000);
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
    words: `a token of issuer ${names} that holds now, with the scope \`${claims.scope}\``,
    request: withClaims(told, claims),
  };
}

/** The claims of the token that is known: they were read from it, or told. */
function claimsOf({ token: told }: ToldRequest, { token }: Trail): Claims | undefined {
  return token?.claims ?? (told?.kind === 'claims' ? told.claims : undefined);
}

function proposeBinding(told: ToldRequest, trail: Trail): Change | undefined {
  const { certificate } = trail;
  const claims = claimsOf(told, trail);
  if (certificate === undefined) return proposeCertificate(told, trail.route);
  if (claims === undefined) return proposeToken(told, trail);
  return {
    words: 'a token bound to the certificate that is shown',
    request: withClaims(told, { ...claims, cnf: { 'x5t#S256': certificate.thumbprint } }),
  };
}

function proposeScope(told: ToldRequest, trail: Trail): Change | undefined {
  const claims = claimsOf(told, trail);
  const scope = trail.route?.require?.scope;
  if (claims === undefined || scope === undefined) return undefined;
  const model = trail.params?.['model_id'];
  const narrower = model === undefined ? '' : `, or \`${scope}:${model}\``;
  const { scp: _scp, ...others } = claims;
  return { words: `the scope \`${scope}\`${narrower}`, request: withClaims(told, { ...others, scope }) };
}

function proposeClaim(told: ToldRequest, trail: Trail, rule: string): Change | undefined {
  const claims = claimsOf(told, trail);
  const require = trail.route?.require;
  if (claims === undefined || require === undefined) return undefined;
  if (rule === 'require.maxEpochs') {
    const { maxEpochs } = require;
    return {
      words: `max_epochs of ${maxEpochs} at most`,
      request: withClaims(told, { ...claims, max_epochs: maxEpochs }),
    };
  }
  const name = rule.slice('require.claims.'.length);
  const implied = name === 'target_version' ? 'version' : name;
  const templates = require.claims.get(name) ?? [{ param: implied }];
  const values = expectedValues(templates, trail.params ?? {});
  const [value] = values;
  return {
    words: `the claim ${name} = ${values.join(' or ')}`,
    request: withClaims(told, { ...claims, [name]: value }),
  };
}

function proposePatch(told: ToldRequest): Change {
  const fields = told.fields.filter((_, at) => told.fields[at - (at % 2)]?.toLowerCase() !== 'content-type');
  return {
    words: `a weight patch as its body (Content-Type: ${WEIGHT_PATCH_TYPE})`,
    request: {
      ...told,
      bodyBytes: told.bodyBytes ?? 1,
      fields: [...fields, 'Content-Type', WEIGHT_PATCH_TYPE],
    },
  };
}

function proposeHandshake(told: ToldRequest): Change {
  const replaced = new Set(
    HANDSHAKE_FIELDS.filter((_, at) => at % 2 === 0).map((name) => name.toLowerCase()),
  );
  const fields = told.fields.filter(
    (_, at) => !replaced.has(told.fields[at - (at % 2)]?.toLowerCase() ?? ''),
  );
  return { words: 'a WebSocket handshake', request: { ...told, fields: [...fields, ...HANDSHAKE_FIELDS] } };
}
