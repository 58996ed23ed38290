/** Turns a request of a test file into one that can be decided. */

import type { AssumedToken, CertificateFacts } from '../core/facts.ts';
import { certificateFromFields } from '../explain/certificate-from-fields.ts';
import type { HypotheticalRequest } from '../explain/hypothetical-request.ts';
import { matchServerName, type Policy } from '../policy/policy.ts';
import type { CertificateFile, RequestFile, TokenFile } from './test-file.ts';

const SHA_256_BYTES = 32;
/** SHA-256 of every described certificate; `bound` binds tokens to it. */
const DIGEST = Buffer.alloc(SHA_256_BYTES, 1);

/** Returns the request; a string is the error message if something is missing or unknown. */
export function requestFromCase(
  policy: Policy,
  written: RequestFile,
  nowMs: number,
): HypotheticalRequest | string {
  const { serverName, method = 'GET', path, client, listener, forwarded, headers, bytes } = written;
  const { certificate, token } = written;
  if (serverName === undefined || path === undefined || client === undefined) return missing(written);
  const [first] = policy.gateway.listeners;
  const listenerName = listener ?? first?.name ?? '';
  if (!policy.gateway.listeners.some(({ name }) => name === listenerName))
    return `unknown listener ${listenerName}`;
  const assumed = tokenOf(policy, serverName, token, nowMs);
  if (typeof assumed === 'string') return assumed;
  return {
    listener: listenerName,
    serverName: serverName.toLowerCase(),
    peer: client,
    method,
    target: path,
    fields: Object.entries(headers ?? {}).flat(),
    ...(forwarded !== undefined && { forwarded }),
    ...(bytes !== undefined && { bodyBytes: bytes }),
    certificate: certificateOf(certificate),
    ...(assumed !== undefined && { token: assumed }),
    nowMs,
  };
}

function missing(written: RequestFile): string {
  const needed = ['serverName', 'path', 'client'] as const;
  return `the request has no ${needed.filter((key) => written[key] === undefined).join(' and no ')}`;
}

function certificateOf(written: 'none' | CertificateFile | undefined): CertificateFacts {
  if (written === undefined || written === 'none') return { status: 'absent' };
  const { subject, names, serial, refused } = written;
  if (refused !== undefined) return { status: 'refused', reason: refused };
  const uris = names.filter((name) => name.includes('://'));
  const emails = names.filter((name) => name.includes('@') && !name.includes('://'));
  return certificateFromFields({
    subject,
    alternativeNames: names.join(', '),
    dnsNames: names.filter((name) => !uris.includes(name) && !emails.includes(name)),
    uris,
    emails,
    serialNumber: serial.toLowerCase(),
    fingerprint: DIGEST.toString('hex'),
  });
}

/** `iss` and `aud` default to those of the named issuer, or of the tenant's first. A string is the error message. */
function tokenOf(
  policy: Policy,
  serverName: string,
  written: 'none' | TokenFile | undefined,
  nowMs: number,
): AssumedToken | string | undefined {
  if (written === undefined || written === 'none') return undefined;
  const { issuer: name, scope, sub, jti, bound, age, life, claims } = written;
  const issuers = matchServerName(policy, serverName.toLowerCase())?.tenant.issuers ?? [];
  const issuer = name === undefined ? issuers[0] : issuers.find((each) => each.name === name);
  if (name !== undefined && issuer === undefined) return `${serverName} has no issuer ${name}`;
  const iat = Math.floor((nowMs - age) / 1000);
  return {
    kind: 'claims',
    claims: {
      ...(issuer !== undefined && { iss: issuer.issuer, aud: issuer.audience }),
      sub,
      iat,
      exp: iat + Math.floor(life / 1000),
      ...(scope !== undefined && { scope }),
      ...(jti !== undefined && { jti }),
      ...(bound && { cnf: { 'x5t#S256': DIGEST.toString('base64url') } }),
      ...claims,
    },
  };
}
