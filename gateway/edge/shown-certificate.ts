/** What a handshake established about the certificate that its caller presented. */

import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { CertificateFacts } from '../core/facts.ts';
import { type KnownLeaves, lookedUp, readPeerCertificate } from './peer-certificate.ts';
import type { NamedContext } from './server-names.ts';

/**
 * Requires the certificate itself, whatever `authorized` says: in several versions of Node, a session resumed without
 * one counts as authorized.
 */
export function certificateFacts(
  socket: TLSSocket,
  certificate: X509Certificate | undefined,
  named: NamedContext,
  leaves: KnownLeaves,
): CertificateFacts {
  if (certificate === undefined) return { status: 'absent' };
  if (!socket.authorized) return { status: 'refused', reason: String(socket.authorizationError) };
  const nowMs = Date.now();
  const facts = readPeerCertificate(certificate, nowMs, leaves);
  if (facts.status === 'refused') return facts;
  const { identity, tenant } = named;
  const reason =
    identity.clients?.objection(certificate, tenant.revocation, nowMs) ??
    tenant.revocation.certificates.objection(facts);
  if (reason !== undefined) return { status: 'refused', reason };
  return lookedUp(facts, identity.clients?.listsDueMs(certificate, tenant.revocation));
}
