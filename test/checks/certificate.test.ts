/** Step 4: a certificate that does not hold opens nothing, and a route may name whom it takes. */
import t from 'tap';
import { checkCertificate } from '../../gateway/checks/certificate.ts';
import type { CertificateFacts } from '../../gateway/core/facts.ts';
import { certificate, route } from './situation.ts';

const absent: CertificateFacts = { status: 'absent' };
const refused: CertificateFacts = { status: 'refused', reason: 'CERT_REVOKED' };
const open = route('r');
const named = (...certificateNames: string[]) => route('r', { certificateNames });

t.test('a refused certificate is refused, even where none is needed', async (t) => {
  for (const required of [true, false]) {
    const denial = checkCertificate(open, required, refused);
    t.match(denial, { code: 'certificate-denied', step: 'certificate', cause: 'CERT_REVOKED' });
    t.notMatch(denial, { detail: /REVOKED/ });
  }
});

t.test('no certificate is enough only where none is required or named', async (t) => {
  t.equal(checkCertificate(open, false, absent), undefined);
  t.match(checkCertificate(open, true, absent), { code: 'certificate-required' });
  t.match(checkCertificate(named('worker-1.example.com'), false, absent), { code: 'certificate-required' });
});

t.test('a verified certificate is handed on', async (t) => {
  t.equal(checkCertificate(open, true, certificate), certificate);
  t.equal(checkCertificate(open, false, certificate), certificate);
});

t.test('names are matched whole: DNS names without case, others to the letter', async (t) => {
  for (const name of ['worker-1.EXAMPLE.com', 'spiffe://example.com/worker-1', 'worker@example.com']) {
    t.equal(checkCertificate(named('other', name), true, certificate), certificate, name);
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
    t.match(checkCertificate(named(name), true, certificate), { code: 'certificate-denied' }, name);
  }
  t.match(
    checkCertificate(named(), true, certificate),
    { code: 'certificate-denied' },
    'an empty list takes nobody',
  );
});
