/** Step 4: an invalid certificate is refused everywhere, and a route may name whose certificates it takes. */
import t from 'tap';
import { checkCertificate } from '../../gateway/checks/certificate.ts';
import type { CertificateFacts } from '../../gateway/core/facts.ts';
import { revokedCertificate } from '../../gateway/lists/revoked.ts';
import { RevokedCertificates, RevokedTokens } from '../../gateway/policy/revocations.ts';
import { revokedNames } from '../lists/revoked-names.ts';
import { certificate, nowMs, route, tenant } from './situation.ts';

const absent: CertificateFacts = { status: 'absent' };
const refused: CertificateFacts = { status: 'refused', reason: 'CERT_REVOKED' };
const tenantA = tenant([]);
const open = route('r');
const named = (...certificateNames: string[]) => route('r', { certificateNames });

t.test('a refused certificate is refused even where none is needed', async (t) => {
  for (const required of [true, false]) {
    const denial = checkCertificate(tenantA, open, required, refused, nowMs);
    t.match(denial, { code: 'certificate-denied', step: 'certificate', cause: 'CERT_REVOKED' });
    t.notMatch(denial, { detail: /REVOKED/ });
  }
});

t.test('a caller without a certificate passes only where none is required or named', async (t) => {
  t.equal(checkCertificate(tenantA, open, false, absent, nowMs), undefined);
  t.match(checkCertificate(tenantA, open, true, absent, nowMs), { code: 'certificate-required' });
  t.match(checkCertificate(tenantA, named('worker-1.example.com'), false, absent, nowMs), {
    code: 'certificate-required',
  });
});

t.test('a verified certificate is passed on to the next step', async (t) => {
  t.equal(checkCertificate(tenantA, open, true, certificate, nowMs), certificate);
  t.equal(checkCertificate(tenantA, open, false, certificate, nowMs), certificate);
});

t.test('names are matched whole, DNS names without regard to case and others exactly', async (t) => {
  for (const name of ['worker-1.EXAMPLE.com', 'spiffe://example.com/worker-1', 'worker@example.com']) {
    t.equal(checkCertificate(tenantA, named('other', name), true, certificate, nowMs), certificate, name);
  }
  const others = [
    'worker-1',
    'example.com',
    '*.example.com',
    'xworker-1.example.com',
    'worker-1.example.com.',
    '',
  ];
  for (const name of [
    ...others,
    'spiffe://example.com/Worker-1',
    'Worker@example.com',
    'CN=worker-1',
    certificate.status,
  ]) {
    t.match(
      checkCertificate(tenantA, named(name), true, certificate, nowMs),
      { code: 'certificate-denied' },
      name,
    );
  }
  t.match(
    checkCertificate(tenantA, named(), true, certificate, nowMs),
    { code: 'certificate-denied' },
    'an empty list of names takes nobody',
  );
});

t.test('the common name counts only where the route asks for it', async (t) => {
  const byCommonName = route('r', { certificateNames: ['worker-1'], matchCommonName: true });
  t.equal(checkCertificate(tenantA, byCommonName, true, certificate, nowMs), certificate);
  t.match(checkCertificate(tenantA, named('worker-1'), true, certificate, nowMs), {
    code: 'certificate-denied',
  });
});

t.test('a certificate on the revocation list is refused by fingerprint or serial number', async (t) => {
  const hex = Buffer.from(certificate.thumbprint, 'base64url').toString('hex');
  const entries = [
    `SHA256:${hex.toUpperCase().replaceAll(/..(?=.)/g, '$&:')}`,
    `sha256:${hex}`,
    'serial:00ABC123',
  ];
  for (const entry of entries) {
    const certificates = new RevokedCertificates([
      {
        place: 'revoked.txt',
        contents: revokedNames([revokedCertificate(entry) ?? ''], 'revoked.txt', 3),
        isCurrent: true,
      },
    ]);
    const revoking = tenant([], {
      revocation: { crl: 'chain', expiredCrl: 'refuse', certificates, tokens: new RevokedTokens([]) },
    });
    const denial = checkCertificate(revoking, open, true, certificate, nowMs);
    t.match(denial, { code: 'certificate-denied', cause: 'it was revoked by revoked.txt:3' }, entry);
    const other = { ...certificate, fingerprint: 'bb'.repeat(32), serialNumber: 'abc124' };
    t.equal(checkCertificate(revoking, open, true, other, nowMs), other);
  }
  for (const entry of [
    '',
    'abc123',
    'serial:',
    'serial:xyz',
    'sha1:00',
    `sha256:${hex.slice(2)}`,
    'serial:1 2',
  ]) {
    t.equal(revokedCertificate(entry), undefined, entry);
  }
});
