/** Step 4: does this route accept the caller's certificate? */

import { type Denial, deny } from '../core/denial.ts';
import type { CertificateFacts, VerifiedCertificate } from '../core/facts.ts';
import type { Route } from '../policy/policy.ts';

/**
 * A certificate that was shown must hold, also where none was asked for. One is needed where the server name
 * requires it, which the handshake saw to, and where the route names whom it accepts.
 */
export function checkCertificate(
  route: Route,
  required: boolean,
  certificate: CertificateFacts,
): VerifiedCertificate | undefined | Denial {
  if (certificate.status === 'refused') {
    const detail = 'The client certificate does not hold for this server name.';
    return deny('certificate', 'certificate-denied', detail, { cause: certificate.reason });
  }
  const names = route.certificateNames;
  if (certificate.status === 'absent') {
    if (!required && names === undefined) return undefined;
    return deny('certificate', 'certificate-required', 'A client certificate is needed here.');
  }
  if (names === undefined || names.some((name) => bears(certificate, name))) return certificate;
  const cause = certificate.subject;
  return deny('certificate', 'certificate-denied', 'The route does not accept this certificate.', { cause });
}

/** Whether a subject alternative name is this one: DNS names without case (RFC 4343), others to the letter. */
function bears(certificate: VerifiedCertificate, name: string): boolean {
  const { dnsNames, uris, emails } = certificate;
  const lower = name.toLowerCase();
  return (
    uris.includes(name) || emails.includes(name) || dnsNames.some((each) => each.toLowerCase() === lower)
  );
}
