/** A folder is read completely and strictly: each fault names its file, and no fault shows a key. */

import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type ServerIdentity, serverIdentitySource } from '../../gateway/certificates/server-identity.ts';
import { formatFault } from '../../gateway/core/fault.ts';
import { MIB } from '../../gateway/core/units.ts';
import { createAuthority } from '../../gateway/demo/pki.ts';
import { damaged, OpensslFolder } from './openssl.ts';

const NAME = 'a.test';
const LEAF = 'basicConstraints=CA:false\nsubjectAltName=DNS:a.test,DNS:*.w.test\n';
const DAY_MS = 86_400_000;

const pki = new OpensslFolder(t.testdir({}));
pki.issue('root');
pki.issue('middle', { by: 'root' });
pki.issue('impostor', { by: 'root', subject: 'middle' });
pki.issue('leaf', { by: 'middle', extensions: LEAF });
pki.issue('rsa', { by: 'middle', extensions: LEAF, kind: 'rsa' });
pki.issue('weak', { by: 'middle', extensions: LEAF, kind: 'weak' });
pki.issue('feeble', { kind: 'weak' });
pki.issue('led', { by: 'feeble', extensions: LEAF });
pki.issue('clients');
pki.issue('client', { by: 'clients', extensions: 'basicConstraints=CA:false\n' });
pki.issue('strangers');
pki.issue('others', { kind: 'ed25519' });
const [leaf, key, middle, clients] = [
  pki.certificate('leaf'),
  pki.key('leaf'),
  pki.certificate('middle'),
  pki.certificate('clients'),
];
pki.revoke('clients', 'client');

const GOOD = { 'chain.pem': leaf + middle, 'key.pem': key, 'clients.pem': clients };
type Files = Readonly<Record<string, string | undefined>>;

interface Reading {
  readonly identity?: ServerIdentity;
  readonly faults: readonly string[];
}

/** Reads a folder with these files in place of the good ones; a file that is undefined is left out. */
async function read(t: Test, files: Files, nowMs = Date.now(), name = NAME): Promise<Reading> {
  const certificates = t.testdir({});
  const folder = join(certificates, name.replace('*.', '_.'));
  mkdirSync(folder);
  for (const [file, text] of Object.entries({ ...GOOD, ...files })) {
    if (text !== undefined) writeFileSync(join(folder, file), text);
  }
  const found = await serverIdentitySource(certificates, name, true).read(nowMs);
  if ('digest' in found) return { identity: found, faults: [] };
  return { faults: found.map(formatFault).map((text) => text.replace(`${folder}/`, '')) };
}

t.test('a good folder is read completely', async (t) => {
  const list = pki.list('clients');
  const rsa = { 'chain.rsa.pem': pki.certificate('rsa') + middle, 'key.rsa.pem': pki.key('rsa') };
  const { identity, faults } = await read(t, { ...rsa, 'clients.crl': list });
  t.same(faults, []);
  t.same(
    identity?.keys.map(({ keyType }) => keyType),
    ['ec', 'rsa'],
  );
  t.equal(identity?.clients?.revoked, 1);
});

t.test('a revocation list is accepted beside authorities with other kinds of keys', async (t) => {
  const both = pki.certificate('others') + clients;
  t.same((await read(t, { 'clients.pem': both, 'clients.crl': pki.list('clients') })).faults, []);
  t.same((await read(t, { 'clients.pem': both, 'clients.crl': pki.list('others') })).faults, []);
  t.match((await read(t, { 'clients.crl': pki.list('others') })).faults, [
    /not signed by a client authority/,
  ]);
});

const ROWS: readonly [title: string, files: Files, ...faults: (string | RegExp)[]][] = [
  ['no chain', { 'chain.pem': undefined }, /^chain\.pem:1:1: cannot be read: ENOENT/],
  ['no key', { 'key.pem': undefined }, /^key\.pem:1:1: cannot be read: ENOENT/],
  ['no authority', { 'clients.pem': undefined }, /^clients\.pem:1:1: cannot be read: ENOENT/],
  [
    'an empty chain',
    { 'chain.pem': '' },
    /^chain\.pem:1:1: contains something other than complete certificates/,
  ],
  ['a chain cut short', { 'chain.pem': leaf + middle.slice(0, -40) }, /^chain\.pem.*complete certificates/],
  ['a certificate of garbage', { 'chain.pem': wrecked(leaf) }, /^chain\.pem:1:1: certificate 1 cannot be/],
  [
    'a damaged key in the chain',
    { 'chain.pem': damaged(leaf) + middle },
    /^chain\.pem:1:1: certificate 1 cannot be/,
  ],
  [
    'a damaged key further up',
    { 'chain.pem': leaf + damaged(middle) },
    /^chain\.pem:1:1: certificate 2 cannot be/,
  ],
  [
    'a damaged key of an authority, which no list is signed by',
    { 'clients.pem': damaged(clients), 'clients.crl': pki.list('clients') },
    /^clients\.pem:1:1: certificate 1 cannot be/,
    /^clients\.crl:1:1: revocation list 1 is not signed/,
  ],
  ['authority before leaf', { 'chain.pem': middle + leaf }, /not for a\.test/, /1 is not issued by/, /^key/],
  [
    'an authority of the right name with another key',
    { 'chain.pem': leaf + pki.certificate('impostor') },
    'chain.pem:1:1: certificate 1 is not issued by certificate 2',
  ],
  [
    'another key',
    { 'key.pem': pki.key('rsa') },
    'key.pem:1:1: does not match the first certificate of chain.pem',
  ],
  ['a key that is none', { 'key.pem': leaf }, 'key.pem:1:1: contains no unencrypted private key'],
  [
    'a key that TLS does not take',
    { 'chain.pem': pki.certificate('weak') + middle, 'key.pem': pki.key('weak') },
    'chain.pem:1:1: is rejected by OpenSSL: ee key too small',
  ],
  [
    'an authority that TLS does not take',
    { 'chain.pem': pki.certificate('led') + pki.certificate('feeble'), 'key.pem': pki.key('led') },
    'chain.pem:1:1: is rejected by OpenSSL: ca key too small',
  ],
  [
    'two RSA pairs',
    {
      'chain.pem': pki.certificate('rsa') + middle,
      'key.pem': pki.key('rsa'),
      'chain.rsa.pem': pki.certificate('rsa') + middle,
      'key.rsa.pem': pki.key('rsa'),
    },
    'key.rsa.pem:1:1: has the same key type as key.pem, rsa',
  ],
  [
    'half an RSA pair',
    { 'key.rsa.pem': pki.key('rsa') },
    'chain.rsa.pem:1:1: is missing, although key.rsa.pem is present',
  ],
  [
    'a client as authority',
    { 'clients.pem': pki.certificate('client') },
    /^clients\.pem.*1 is not a CA certificate/,
  ],
  ['an empty list of authorities', { 'clients.pem': '\n' }, /^clients\.pem:1:1: contains something other/],
  [
    'authorities cut short',
    { 'clients.pem': clients.slice(0, 300) },
    /^clients\.pem:1:1: contains something other/,
  ],
  [
    'a revocation list of another authority',
    { 'clients.crl': pki.list('strangers') },
    'clients.crl:1:1: revocation list 1 is not signed by a client authority',
  ],
  ['an empty revocation list', { 'clients.crl': '' }, /^clients\.crl:1:1: contains something other/],
];

for (const [title, files, ...expected] of ROWS) {
  t.test(`a folder with ${title} is refused`, async (t) => {
    const { identity, faults } = await read(t, files);
    t.equal(identity, undefined);
    t.match(faults, expected);
    t.equal(faults.length, expected.length, faults.join('\n'));
    t.notMatch(faults.join('\n'), /PRIVATE|[A-Za-z0-9+/]{40}/, 'no fault shows any part of a key');
  });
}

t.test(
  'a file too large to read is a fault, and endless beginnings of certificates cost no time',
  async (t) => {
    const certificates = t.testdir({ [NAME]: GOOD });
    const chain = join(certificates, NAME, 'chain.pem');
    truncateSync(chain, 100 * MIB);
    const found = await serverIdentitySource(certificates, NAME, true).read(Date.now());
    t.match(found, [{ file: chain, problem: /^is larger than \d+ bytes/ }]);
    t.equal('digest' in found || found.length, 1, 'nothing else is reported about it');
    // Takes a minute, longer than a test may, if each beginning is searched to the end of the file.
    const { faults } = await read(t, { 'clients.pem': '-----BEGIN CERTIFICATE-----\n'.repeat(70_000) });
    t.match(faults, [/^clients\.pem:1:1: contains something other than complete certificates/]);
  },
);

t.test('certificates that have expired or are not yet valid are faults', async (t) => {
  const late = await read(t, {}, Date.now() + 6 * DAY_MS);
  t.match(late.faults, [
    /^chain\.pem:1:1: certificate 1 expired on/,
    /^chain\.pem:1:1: certificate 2 expired on/,
    /^clients\.pem:1:1: certificate 1 expired on/,
  ]);
  const early = await read(t, {}, Date.now() - DAY_MS);
  t.match(early.faults, [/certificate 1 is not valid before/, /certificate 2 is not/, /^clients\.pem/]);
});

t.test('a leaf must be for the server name it is served under', async (t) => {
  t.match((await read(t, {}, Date.now(), 'b.test')).faults, [/not for b\.test \(expected DNS:a\.test/]);
  t.same((await read(t, {}, Date.now(), 'x.w.test')).faults, [], 'a wildcard covers one label');
  t.match(
    (await read(t, {}, Date.now(), 'x.y.w.test')).faults,
    [/not for x\.y\.w\.test/],
    'a wildcard covers no more than one label',
  );
  t.same((await read(t, {}, Date.now(), '*.w.test')).faults, []);
  t.match((await read(t, {}, Date.now(), '*.a.test')).faults, [/not for \*\.a\.test/]);
  const servers = await createAuthority('servers');
  const named = await servers.issueServer({ dnsNames: [] });
  const bare = { 'chain.pem': named.certificatePem, 'key.pem': named.privateKeyPem };
  t.match((await read(t, bare)).faults, [/not for a\.test/], 'a subject alone is no name');
});

/** PEM of the right form around bytes that are no certificate. */
function wrecked(pem: string): string {
  return pem.replace(/\n[A-Za-z0-9+/]{4}/, '\nAAAA');
}
