/** `tenants/<tenant>.yaml` as it is written: names, address lists, issuers, upstreams, routes. */

import { z } from 'zod';
import { scopeNames } from '../core/scope.ts';
import { parseDuration, parseShare } from '../core/units.ts';
import { REVOKED_CERTIFICATE, REVOKED_TOKEN, revokedCertificate, revokedToken } from '../lists/revoked.ts';
import { clientCertificates, minTlsVersion } from './gateway-file.ts';
import { byteRate, count, duration, name, prefix, rate, read, size } from './schema-types.ts';
import { upstream } from './upstream-file.ts';

const DAY_MS = 86_400_000;
/** Asymmetric only: a secret shared with the gateway could sign as well as verify (RFC 8725 §3.1). */
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

const addressList = z.strictObject({
  cidrs: z.array(prefix).optional().describe('Prefixes written here.'),
  file: z
    .string()
    .min(1)
    .optional()
    .describe('Prefixes in a file, one a line, perhaps with `until=2026-12-01T00:00:00Z`; `#` comments.'),
  etcd: z
    .string()
    .min(1)
    .optional()
    .describe('A key of etcd with one prefix a line, or one key a prefix below it.'),
  redis: z.string().min(1).optional().describe('A set of prefixes in Redis, or a string with one a line.'),
});

function revoked(entry: ReturnType<typeof read<string>>, description: string) {
  return z
    .strictObject({
      entries: z.array(entry).prefault([]).describe(description),
      file: z
        .string()
        .min(1)
        .optional()
        .describe('The same in a file, one a line, perhaps with `until=…`; `#` comments.'),
      etcd: z.string().min(1).optional().describe('A key of etcd with one a line, or one key each below it.'),
      redis: z.string().min(1).optional().describe('A set in Redis, or a string with one a line.'),
    })
    .prefault({});
}

const revocation = z.strictObject({
  crl: z
    .enum(['chain', 'leaf'])
    .prefault('chain')
    .describe(
      'Whose list is asked where there is a `clients.crl`: every authority of the chain has one, or the issuer.',
    ),
  expiredCrl: z
    .enum(['refuse', 'accept'])
    .prefault('refuse')
    .describe('What a revocation list past its `nextUpdate` means.'),
  certificates: revoked(
    read(revokedCertificate, REVOKED_CERTIFICATE),
    'Revoked certificates: `sha256:…` or `serial:…`, hexadecimal.',
  ),
  tokens: revoked(
    read(revokedToken, REVOKED_TOKEN),
    'Revoked tokens: `jti:…`, `sub:…`, or `sha256:…` of the certificate they are bound to or come with.',
  ),
});

const issuer = z.strictObject({
  issuer: z.string().min(1).describe('The `iss` claim, compared exactly.'),
  audience: z.string().min(1).describe('The `aud` claim, or one of its members.'),
  keys: z.strictObject({
    jwks: z.string().optional().describe('https address of the JWKS; http on loopback only.'),
    file: z.string().min(1).optional().describe('JWKS file, followed.'),
    refresh: duration(1000, DAY_MS).prefault('10m').describe('Between two fetches of a JWKS.'),
    keep: duration(1000, 366 * DAY_MS)
      .prefault('1d')
      .describe('Fetched keys hold for so long while the issuer cannot be reached.'),
  }),
  algorithms: z.array(z.enum(algorithms)).min(1).describe('Signature algorithms accepted.'),
  clockSkew: duration(0, 60_000).prefault('30s').describe('Tolerance for exp, nbf and iat.'),
  maxLifetime: duration(1000, 366 * DAY_MS)
    .prefault('24h')
    .describe('Longest span from iat to exp.'),
  binding: binding.prefault('ifPresent').describe('Whether tokens are bound to the certificate (RFC 8705).'),
});

const claimValue = z.union([z.string().min(1), z.int(), z.boolean()]);

const requirement = z.strictObject({
  scope: scope.describe('The scope the token must grant for the model of the path.'),
  binding: binding.optional().describe("In place of the issuer's."),
  claims: z
    .record(z.string(), z.union([claimValue, z.array(claimValue).min(1)]))
    .prefault({})
    .describe('Claims and the value, or one of the values, each must have; `{name}` is a path parameter.'),
  maxEpochs: count(1, Number.MAX_SAFE_INTEGER)
    .optional()
    .describe(
      'The largest `max_epochs` of a token, which stands for 100 where it is absent; one without limit (0) is above every number.',
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
  format: z
    .literal('weight-patch')
    .optional()
    .describe('The body is a weight patch and is checked as it passes.'),
  maxBytes: size(1, 2 ** 50)
    .optional()
    .describe('Largest body, declared or counted.'),
  minRate: byteRate
    .optional()
    .describe('Slowest a caller may send, or take the answer, while nobody else is waited for.'),
  minRateGrace: duration(100, DAY_MS)
    .optional()
    .describe('Time waited for the caller that `minRate` is taken over; 10s unless it is given.'),
  trailers: z
    .array(z.string().regex(/^[A-Za-z0-9-]+$/, { error: 'a field name of letters, digits and hyphens' }))
    .min(1)
    .optional()
    .describe('Trailer fields that go on, both ways; all others are dropped.'),
  check: z
    .enum(['header', 'deep', 'values'])
    .prefault('deep')
    .describe(
      'How much of a patch is checked: `header` sums and places, `deep` its indices too, `values` its values too.',
    ),
  maxAbs: z
    .number()
    .nonnegative()
    .optional()
    .describe('With `check: values`: the largest absolute value (of what is added, the largest difference).'),
  maxChanged: read(parseShare, 'a share like 10% or 0.5%')
    .optional()
    .describe(
      'With `check: values`: the largest share of a tensor that may change, as in `10%`. An upload that was cut within a tensor begins anew.',
    ),
  tensors: z
    .array(z.string().min(1))
    .min(1)
    .optional()
    .describe(
      "With `check: values`: names that may change, as in `'*.lora_A.*'`; `*` is any run of characters.",
    ),
});

const limits = z.strictObject({
  requests: rate.optional().describe('Requests in a time; that many may come at once.'),
  concurrent: count(1, 1_000_000).optional().describe('Requests at once.'),
  bytes: byteRate.optional().describe('Body bytes in a time, both directions together.'),
  per: z
    .enum(['subject', 'address', 'model', 'tenant'])
    .prefault('subject')
    .describe(
      'Who shares them: callers of the route with the same token subject, client address, model, or all.',
    ),
});

const tunnel = z.strictObject({
  idle: duration(100, DAY_MS)
    .optional()
    .describe('Without a byte in either direction; 5m unless it is given.'),
  lifetime: duration(100, 366 * DAY_MS)
    .optional()
    .describe('However busy it is; 1d unless it is given.'),
});

const fallback = z.union([
  name,
  z.strictObject({
    status: answerStatus.describe('The status of the answer.'),
    body: z.string().max(65_536).prefault('').describe('Its body.'),
    contentType: z
      .string()
      .regex(/^[!-~]+(?: [!-~]+)*$/, { error: 'a media type' })
      .prefault('text/plain; charset=utf-8')
      .describe('Its `Content-Type`.'),
  }),
]);

const route = z.strictObject({
  name: name.describe('Names the route in metrics and log.'),
  match: z.strictObject({
    methods: z
      .array(z.enum(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']))
      .min(1)
      .describe('HEAD is not implied by GET.'),
    path: z.string().describe('`{name}` is one segment, `{name=*/*}` two, `**` the rest.'),
  }),
  require: z.union([z.literal('none'), requirement]).describe('What the token must bring, or `none`.'),
  allow: z.array(name).optional().describe("Lists that narrow the tenant's."),
  certificate: z
    .strictObject({
      names: z
        .array(z.string().min(1))
        .min(1)
        .describe('Alternative names (DNS, URI, e-mail), any of which the certificate must have.'),
      commonName: z.boolean().prefault(false).describe("The subject's common name counts as well."),
    })
    .optional(),
  encodedSlash: z.boolean().prefault(false).describe('`%2F` may stand inside a segment.'),
  forwardAuthorization: z.boolean().prefault(false).describe('The node sees `Authorization`.'),
  forwardCertificateChain: z
    .boolean()
    .prefault(false)
    .describe(
      'The node gets `Client-Cert-Chain` beside `Client-Cert` (RFC 9440); no session of the tenant is resumed.',
    ),
  mode: mode.optional().describe("In place of the tenant's."),
  onExpiry: onExpiry
    .prefault('end')
    .describe('A running stream whose token expires: `end`, `grace 30s`, or `finish`.'),
  stream: stream.optional(),
  limits: limits
    .optional()
    .describe('Counted by each gateway for itself, or in `gateway.state.redis` for all; beyond them 429.'),
  upgrade: z
    .enum(['websocket'])
    .optional()
    .describe('The route takes WebSocket handshakes (RFC 6455) and nothing else.'),
  tunnel: tunnel.optional().describe('What a handshake leads to; needs `upgrade`.'),
  upstream: name.describe('Where admitted requests go.'),
  fallback: fallback
    .optional()
    .describe(
      'For requests no node of the upstream can take, before anything was sent: another upstream, or an answer.',
    ),
});

export const tenantFile = z.strictObject({
  tenant: name.describe('The name of the file.'),
  serverNames: z
    .array(z.string())
    .min(1)
    .describe('Names this tenant answers to; `*.example.com` is one label.'),
  clientCertificates: clientCertificates.optional(),
  minTlsVersion: minTlsVersion.optional(),
  mode: mode
    .prefault('enforce')
    .describe(
      '`shadow`: what address, certificate, token, scope and claims would refuse is logged and counted, and passes.',
    ),
  revocation: revocation.prefault({}),
  modelId: z
    .string()
    .prefault('^[a-z0-9_]{3,32}$')
    .describe(
      'Regular expression of model names, which have at most 255 characters; one that could be slow is a fault.',
    ),
  addresses: z.record(name, addressList).prefault({}).describe('CIDR lists by name.'),
  allow: z.array(name).optional().describe('Lists of which one must hold the client address.'),
  deny: z.array(name).prefault([]).describe('Lists none of which may; deny wins.'),
  issuers: z.record(name, issuer).prefault({}).describe('Token issuers by name.'),
  failedTokensPerAddress: rate
    .prefault('60/m')
    .describe('Tokens with a wrong signature one client address may send; beyond, none is verified.'),
  scopes: z
    .partialRecord(scope, z.array(scope))
    .prefault({ publish: ['read'], finetune: ['read'] })
    .describe('What a scope includes besides itself.'),
  upstreams: z.record(name, upstream).describe('Sync nodes by name.'),
  routes: z.array(route).min(1).describe('Tried in order; the first that fits is taken.'),
});

export type TenantFile = z.output<typeof tenantFile>;
export type RouteFile = TenantFile['routes'][number];
export type IssuerFile = TenantFile['issuers'][string];
