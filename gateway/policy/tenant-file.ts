/** Schema of `tenants/<tenant>.yaml`: names, address lists, issuers, upstreams, routes. */

import { z } from 'zod';
import { scopeNames } from '../core/scope.ts';
import { parseDuration, parseShare } from '../core/units.ts';
import { clientCertificates, minTlsVersion } from './gateway-file.ts';
import { addressList, revocation } from './list-file.ts';
import { byteRate, count, duration, name, rate, read, size } from './schema-types.ts';
import { upstream } from './upstream-file.ts';

const DAY_MS = 86_400_000;
/** Asymmetric only: with a shared secret, whoever can verify can also sign (RFC 8725 §3.1). */
export const algorithms = [
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
] as const;

const scope = z.enum(scopeNames);
const binding = z.enum(['required', 'ifPresent', 'off']);

const issuer = z.strictObject({
  issuer: z.string().min(1).describe('Expected `iss` claim, compared exactly.'),
  audience: z.string().min(1).describe('Expected `aud` claim, or one of its members.'),
  keys: z
    .strictObject({
      jwks: z.string().optional().describe('https URL of the JWKS; http is accepted on loopback only.'),
      file: z.string().min(1).optional().describe('JWKS file; read again when it changes.'),
      refresh: duration(1000, DAY_MS).prefault('10m').describe('Time between two fetches of the JWKS.'),
      keep: duration(1000, 366 * DAY_MS)
        .prefault('1d')
        .describe('How long fetched keys stay valid while the issuer is unreachable.'),
    })
    .describe('Where its keys come from: `jwks` or `file`.'),
  algorithms: z.array(z.enum(algorithms)).min(1).describe('Accepted signature algorithms.'),
  clockSkew: duration(0, 60_000).prefault('30s').describe('Tolerance for `exp`, `nbf` and `iat`.'),
  maxLifetime: duration(1000, 366 * DAY_MS)
    .prefault('24h')
    .describe('Longest time from `iat` to `exp`.'),
  binding: binding
    .prefault('ifPresent')
    .describe('Whether tokens must be bound to the client certificate (RFC 8705).'),
});

const claimValue = z.union([z.string().min(1), z.int(), z.boolean()]);

const requirement = z.strictObject({
  scope: scope.describe('Scope the token must grant for the model in the path.'),
  binding: binding.optional().describe("Overrides the issuer's."),
  claims: z
    .record(z.string(), z.union([claimValue, z.array(claimValue).min(1)]))
    .prefault({})
    .describe(
      'Claims the token must have, each with its value or a list of allowed values; `{name}` is a path parameter.',
    ),
  maxEpochs: count(1, Number.MAX_SAFE_INTEGER)
    .optional()
    .describe(
      'Largest `max_epochs` a token may have. An absent claim counts as 100; 0 means no limit and exceeds any number.',
    ),
});

const mode = z.enum(['enforce', 'shadow']);

/** 204, 205 and 304 have no body (RFC 9110 §15.3.5, §15.3.6, §15.4.5). */
const answerStatus = count(200, 599).refine((status) => ![204, 205, 304].includes(status), {
  error: 'is a status without a body',
});

const onExpiry = read((text) => {
  if (text === 'end') return 0;
  if (text === 'finish') return Number.POSITIVE_INFINITY;
  const [, grace = ''] = /^grace (.+)$/.exec(text) ?? [];
  return parseDuration(grace);
}, 'end, finish or grace with a duration, as in grace 30s');

const stream = z.strictObject({
  format: z.literal('weight-patch').optional().describe('The body is a weight patch, checked in passing.'),
  maxBytes: size(1, 2 ** 50)
    .optional()
    .describe('Largest body, by its declared length or as counted.'),
  minRate: byteRate
    .optional()
    .describe(
      'Slowest rate at which a caller may send, or read the response; counts only time spent waiting for the caller.',
    ),
  minRateGrace: duration(100, DAY_MS)
    .optional()
    .describe('Time spent waiting for the caller over which `minRate` is measured; 10s unless given.'),
  trailers: z
    .array(z.string().regex(/^[A-Za-z0-9-]+$/, { error: 'a field name of letters, digits and hyphens' }))
    .min(1)
    .optional()
    .describe('Trailer fields to forward, in both directions; all others are dropped.'),
  check: z
    .enum(['header', 'deep', 'values'])
    .prefault('deep')
    .describe(
      'How much of a patch is checked: `header`: frames, checksums and order; `deep`: each index as well; `values`: each value as well.',
    ),
  maxAbs: z
    .number()
    .nonnegative()
    .optional()
    .describe('With `check: values`: the largest absolute value (in an `add`, the largest difference).'),
  maxChanged: read(parseShare, 'a share like 10% or 0.5%')
    .optional()
    .describe(
      'With `check: values`: the largest share of a tensor that may change, as in `10%`. An upload interrupted within a tensor then starts over.',
    ),
  tensors: z
    .array(z.string().min(1))
    .min(1)
    .optional()
    .describe(
      "With `check: values`: the tensors that may change, as in `'*.lora_A.*'`; `*` matches any run of characters.",
    ),
});

const limits = z.strictObject({
  requests: rate.optional().describe('Requests per unit of time; the whole amount may arrive in one burst.'),
  concurrent: count(1, 1_000_000).optional().describe('Requests in progress at once.'),
  bytes: byteRate.optional().describe('Body bytes per unit of time, both directions together.'),
  per: z
    .enum(['subject', 'address', 'model', 'tenant'])
    .prefault('subject')
    .describe(
      'Who shares them: callers of the route with the same token subject, client address or model, or all callers.',
    ),
});

const tunnel = z.strictObject({
  idle: duration(100, DAY_MS)
    .optional()
    .describe('Longest time without a byte in either direction; 5m unless given.'),
  lifetime: duration(100, 366 * DAY_MS)
    .optional()
    .describe('Longest time in all; 1d unless given.'),
});

const fallback = z.union([
  name,
  z.strictObject({
    status: answerStatus.describe('Status of the answer.'),
    body: z.string().max(65_536).prefault('').describe('Its body.'),
    contentType: z
      .string()
      .regex(/^[!-~]+(?: [!-~]+)*$/, { error: 'a media type' })
      .prefault('text/plain; charset=utf-8')
      .describe('Its `Content-Type`.'),
  }),
]);

const route = z.strictObject({
  name: name.describe('The name of the route in metrics and logs.'),
  match: z
    .strictObject({
      methods: z
        .array(z.enum(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']))
        .min(1)
        .describe('Methods of the route; GET does not imply HEAD.'),
      path: z
        .string()
        .describe('Path of the route: `{name}` matches one segment, `{name=*/*}` two, `**` the rest.'),
    })
    .describe('The requests this route is for.'),
  require: z
    .union([z.literal('none'), requirement])
    .describe('What the token must grant; `none`: the route needs no token.'),
  allow: z.array(name).optional().describe("Address lists that narrow the tenant's."),
  certificate: z
    .strictObject({
      names: z
        .array(z.string().min(1))
        .min(1)
        .describe('Subject alternative names (DNS, URI, e-mail); the certificate must have one of them.'),
      commonName: z.boolean().prefault(false).describe("Whether the subject's common name counts as well."),
    })
    .optional()
    .describe('Restricts which client certificates the route accepts.'),
  encodedSlash: z.boolean().prefault(false).describe('Whether a segment may contain `%2F`.'),
  forwardAuthorization: z
    .boolean()
    .prefault(false)
    .describe('Whether `Authorization` is forwarded to the node.'),
  forwardCertificateChain: z
    .boolean()
    .prefault(false)
    .describe(
      'Whether the node gets `Client-Cert-Chain` as well as `Client-Cert` (RFC 9440); the tenant then resumes no TLS sessions.',
    ),
  mode: mode.optional().describe("Overrides the tenant's."),
  onExpiry: onExpiry
    .prefault('end')
    .describe('What happens to a running stream when its token expires: `end`, `grace 30s` or `finish`.'),
  stream: stream.optional().describe('What the body may be.'),
  limits: limits
    .optional()
    .describe(
      'Limits per caller, counted by each gateway on its own or, with `gateway.state`, by all together; above them 429.',
    ),
  upgrade: z
    .enum(['websocket'])
    .optional()
    .describe('The route accepts WebSocket handshakes (RFC 6455) and nothing else.'),
  tunnel: tunnel.optional().describe('Limits of the tunnel that a handshake opens; needs `upgrade`.'),
  upstream: name.describe('The upstream that gets admitted requests.'),
  fallback: fallback
    .optional()
    .describe(
      'Another upstream, or an answer, for requests that no node can take; applies only before anything was sent.',
    ),
});

export const tenantFile = z.strictObject({
  tenant: name.describe('Must match the name of the file.'),
  serverNames: z
    .array(z.string())
    .min(1)
    .describe('Server names of the tenant; `*` in `*.example.com` stands for one label.'),
  clientCertificates: clientCertificates.optional(),
  minTlsVersion: minTlsVersion.optional(),
  mode: mode
    .prefault('enforce')
    .describe(
      '`shadow`: requests that address, certificate, token, scope or claims would refuse are admitted, logged and counted.',
    ),
  revocation: revocation.prefault({}),
  modelId: z
    .string()
    .prefault('^[a-z0-9_]{3,32}$')
    .describe(
      'Regular expression for model names, which have at most 255 characters; a pattern that could be slow is a fault.',
    ),
  addresses: z
    .record(name, addressList)
    .prefault({})
    .describe('Address lists by name; each key below adds to the list.'),
  allow: z.array(name).optional().describe('Address lists; one of them must contain the client address.'),
  deny: z
    .array(name)
    .prefault([])
    .describe('Address lists; none of them may contain the client address. `deny` wins over `allow`.'),
  issuers: z.record(name, issuer).prefault({}).describe('Token issuers by name.'),
  failedTokensPerAddress: rate
    .prefault('60/m')
    .describe(
      'Tokens with a wrong signature tolerated from one client address; above that its new tokens are answered 429, unverified.',
    ),
  scopes: z
    .partialRecord(scope, z.array(scope))
    .prefault({ publish: ['read'], finetune: ['read'] })
    .describe('Further scopes that a scope includes.'),
  upstreams: z.record(name, upstream).describe('Groups of sync nodes, by name.'),
  routes: z.array(route).min(1).describe('Routes, tried in order; the first match is taken.'),
});

export type TenantFile = z.output<typeof tenantFile>;
export type RouteFile = TenantFile['routes'][number];
export type IssuerFile = TenantFile['issuers'][string];
