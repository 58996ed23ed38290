/** A client certificate is read exactly, and an unsuitable one is refused. */
import { X509Certificate } from 'node:crypto';
import t from 'tap';
import { readAlternativeNames, readPeerCertificate } from '../../gateway/edge/peer-certificate.ts';
import { createTestAuthority, type LeafOptions, purposes } from './authority.ts';

const authority = await createTestAuthority('test clients');
const DAY_MS = 86_400_000;

async function read(options: LeafOptions, nowMs = Date.now()) {
  const leaf = await authority.leaf('worker', options);
  const certificate = new X509Certificate(leaf.certPem);
  return { certificate, facts: readPeerCertificate(certificate, nowMs) };
}

t.test('the names of a certificate are sorted by their kind', async (t) => {
  const { facts, certificate } = await read({
    usages: [purposes.clientAuth],
    names: [
      { type: 'dns', value: 'w1.example.com' },
      { type: 'dns', value: 'w2.example.com' },
      { type: 'url', value: 'spiffe://example.com/worker' },
      { type: 'email', value: 'ops@example.com' },
      { type: 'ip', value: '10.0.0.1' },
    ],
  });
  t.match(facts, {
    status: 'verified',
    subject: 'CN=worker',
    dnsNames: ['w1.example.com', 'w2.example.com'],
    uris: ['spiffe://example.com/worker'],
    emails: ['ops@example.com'],
    der: certificate.raw.toString('base64'),
  });
  const hex = certificate.fingerprint256.replaceAll(':', '');
  t.equal(
    facts.status === 'verified' && Buffer.from(facts.thumbprint, 'base64url').toString('hex'),
    hex.toLowerCase(),
  );
});

t.test('a certificate without names or usages has none', async (t) => {
  const { facts } = await read({});
  t.match(facts, { status: 'verified', dnsNames: [], uris: [], emails: [] });
});

t.test('a value with a comma or a quote cannot pass for another name', async (t) => {
  for (const value of [
    'spiffe://x/a,DNS:admin.example.com',
    'spiffe://x/a, DNS:admin.example.com',
    'spiffe://x/"a", DNS:admin.example.com',
    'spiffe://x/\\", DNS:admin.example.com',
  ]) {
    const { facts } = await read({ names: [{ type: 'url', value }] });
    t.match(facts, { status: 'verified', dnsNames: [], uris: [value] }, value);
  }
});

const refused: readonly (readonly [string, LeafOptions, number, string])[] = [
  ['of an authority', { isAuthority: true }, 0, 'it is a CA certificate'],
  ['for servers only', { usages: [purposes.serverAuth] }, 0, 'it is not for client authentication'],
  ['with a short RSA key', { rsaBits: 1024 }, 0, 'its key is too short'],
  ['that has expired', {}, 2 * DAY_MS, 'it has expired'],
  ['that is not valid yet', {}, -2 * DAY_MS, 'it is not valid yet'],
];

for (const [what, options, laterMs, reason] of refused) {
  t.test(`a certificate ${what} is refused`, async (t) => {
    const { facts } = await read(options, Date.now() + laterMs);
    t.same(facts, { status: 'refused', reason });
  });
}

t.test('an RSA key of 2048 bits and a usage among others are accepted', async (t) => {
  const { facts } = await read({ rsaBits: 2048, usages: [purposes.serverAuth, purposes.clientAuth] });
  t.equal(facts.status, 'verified');
});

const texts: readonly (readonly [string, readonly (readonly [string, string])[] | undefined])[] = [
  ['', []],
  ['DNS:a', [['DNS', 'a']]],
  [
    'DNS:a, URI:b:c',
    [
      ['DNS', 'a'],
      ['URI', 'b:c'],
    ],
  ],
  [
    'IP Address:10.0.0.1, Registered ID:1.2.3',
    [
      ['IP Address', '10.0.0.1'],
      ['Registered ID', '1.2.3'],
    ],
  ],
  [
    'URI:"x, DNS:y", DNS:z',
    [
      ['URI', 'x, DNS:y'],
      ['DNS', 'z'],
    ],
  ],
  ['URI:"x\\", DNS:y"', [['URI', 'x", DNS:y']]],
  ['DNS:', [['DNS', '']]],
  ['DNS', undefined],
  ['DNS:a,DNS:b', undefined],
  ['DNS:a"b', undefined],
  ['URI:"a', undefined],
  ['URI:"a"b', undefined],
  ['URI:"\\x41"', undefined],
  ['URI:"a", b', undefined],
];

t.test('alternative names are read completely or not at all', async (t) => {
  for (const [text, expected] of texts)
    t.same(
      readAlternativeNames(text)?.map(({ type, value }) => [type, value]),
      expected,
      JSON.stringify(text),
    );
});
