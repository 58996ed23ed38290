/** Step 4: does this route accept the caller's certificate? */

import { type Denial, deny } from '../core/denial.ts';
import type { CertificateFacts, VerifiedCertificate } from '../core/facts.ts';
import type { Route, Tenant } from '../policy/policy.ts';

/**
 * A certificate that was shown must hold, also where none was asked for, and must not have been revoked since. One is
 * needed where the server name requires it, which the handshake saw to, and where the route names whom it accepts.
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
    return deny('certificate', 'certificate-required', 'A client certificate is needed here.');
  }
  if (nowMs > certificate.notAfterMs) return doesNotHold('it has expired');
  const revoked = revocation.certificates.objection(certificate);
  if (revoked !== undefined) return doesNotHold(revoked);
  if (names === undefined || names.some((name) => bears(certificate, name, route.matchCommonName))) {
    return certificate;
  }
  const cause = certificate.subject;
  return deny('certificate', 'certificate-denied', 'The route does not accept this certificate.', { cause });
}

function doesNotHold(cause: string): Denial {
  const detail = 'The client certificate does not hold for this server name.';
  return deny('certificate', 'certificate-denied', detail, { cause });
}

/** Whether it has this name: DNS names without case (RFC 4343), others to the letter, the common name if asked for. */
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
