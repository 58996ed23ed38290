/** Verifies a client certificate from a file as the handshake would. */

import type { X509Certificate } from 'node:crypto';
import { decodeCertificate } from '../certificates/certificate-files.ts';
import { readSource } from '../certificates/identity-store.ts';
import { identityFolder, serverIdentitySource } from '../certificates/server-identity.ts';
import type { CertificateFacts } from '../core/facts.ts';
import { readPeerCertificate } from '../edge/peer-certificate.ts';
import { matchServerName, type Policy } from '../policy/policy.ts';

const BLOCK = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/** `pem`: the certificate, followed by its issuers. A string is the error message if it cannot be verified at all. */
export async function certificateFromPem(
  policy: Policy,
  serverName: string,
  pem: string,
  nowMs: number,
): Promise<CertificateFacts | string> {
  const [leaf, ...sent] = readCertificates(pem);
  if (leaf === undefined) return 'no valid certificate found';
  const match = matchServerName(policy, serverName);
  if (match === undefined) return `no tenant has the server name ${serverName}`;
  const { certificates } = policy.gateway;
  const identity = await readSource(serverIdentitySource(certificates, match.serverName, true), nowMs);
  if (!('digest' in identity))
    return `cannot be verified: ${identityFolder(certificates, match.serverName)} has faults`;
  const facts = readPeerCertificate(leaf, nowMs);
  if (facts.status === 'refused') return facts;
  const reason =
    identity.clients?.vouchFor(leaf, sent, nowMs) === false
      ? 'its authority is not accepted'
      : identity.clients?.objection(leaf, match.tenant.revocation, nowMs);
  return reason === undefined ? facts : { status: 'refused', reason };
}

function readCertificates(pem: string): readonly X509Certificate[] {
  try {
    return (pem.match(BLOCK) ?? []).map(decodeCertificate);
  } catch {
    return [];
  }
}
