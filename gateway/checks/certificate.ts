/** Step 4: does this route accept the caller's certificate? */

import { type Denial, deny } from '../core/denial.ts';
import type { CertificateFacts, VerifiedCertificate } from '../core/facts.ts';
import type { Route, Tenant } from '../policy/policy.ts';

/**
 * A certificate that was presented must be valid, even where none was requested, and must not have been revoked since.
 * One is required if the server name requires it, which the handshake enforced, or if the route lists names it accepts.
 */
export function checkCertificate(
  { revocation }: Tenant,
  route: Route,
  required: boolean,
  certificate: CertificateFacts,
  nowMs: number,
): VerifiedCertificate | undefined | Denial {
  if (certificate.status === 'refused') return doesNotHold(certificate.reason);
  const names = route.certificateNames;
  if (certificate.status === 'absent') {
    if (!required && names === undefined) return undefined;
    const rule = names === undefined ? 'tenant.clientCertificates' : 'certificate';
    return deny('certificate', 'certificate-required', 'A client certificate is required.', { rule });
  }
  if (nowMs > certificate.notAfterMs) return doesNotHold('it has expired');
  if (nowMs > (certificate.listsDueMs ?? nowMs)) return doesNotHold('the revocation list is past its time');
  const revoked = revocation.certificates.objection(certificate);
  if (revoked !== undefined) return doesNotHold(revoked, 'tenant.revocation.certificates');
  if (names === undefined || names.some((name) => bears(certificate, name, route.matchCommonName))) {
    return certificate;
  }
  const cause = certificate.subject;
  const detail = 'The route does not accept this certificate.';
  return deny('certificate', 'certificate-denied', detail, { cause, rule: 'certificate.names' });
}

function doesNotHold(cause: string, rule?: string): Denial {
  const detail = 'The client certificate is not valid for this server name.';
  return deny('certificate', 'certificate-denied', detail, { cause, ...(rule !== undefined && { rule }) });
}

/** Whether it has this name. DNS names ignore case (RFC 4343), others do not; common names count only if asked for. */
function bears(certificate: VerifiedCertificate, name: string, matchCommonName: boolean): boolean {
  const { dnsNames, uris, emails, commonNames } = certificate;
  const lower = name.toLowerCase();
  return (
    uris.includes(name) ||
    emails.includes(name) ||
    dnsNames.some((each) => each.toLowerCase() === lower) ||
    (matchCommonName && commonNames.includes(name))
  );
}
