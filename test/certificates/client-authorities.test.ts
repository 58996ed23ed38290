/** Revocation by lists that openssl made: of the leaf alone or the whole chain, before and after the list is due. */
import { X509Certificate } from 'node:crypto';
import t from 'tap';
import { ClientAuthorities, type RevocationRules } from '../../gateway/certificates/client-authorities.ts';
import { readRevocationLists } from '../../gateway/certificates/revocation-list.ts';
import { createAuthority } from '../../gateway/demo/pki.ts';
import { namesOf } from '../lists/revoked-names.ts';
import { OpensslFolder } from './openssl.ts';

const strict: RevocationRules = { crl: 'chain', expiredCrl: 'refuse' };

const LEAF = 'basicConstraints=CA:false\n';

function read(pem: string) {
  const lists = readRevocationLists(pem);
  if (typeof lists === 'string') throw new Error(lists);
  return lists;
}

for (const kind of ['ec', 'rsa'] as const) {
  t.test(`a revoked certificate of an ${kind.toUpperCase()} authority is refused`, async (t) => {
    const pki = new OpensslFolder(t.testdir({}));
    pki.issue('root', { kind });
    pki.issue('middle', { kind, by: 'root' });
    pki.issue('good', { kind, by: 'middle', extensions: LEAF });
    pki.issue('bad', { kind, by: 'middle', extensions: LEAF });
    const certificate = (name: string) => new X509Certificate(pki.certificate(name));
    const authorities = [certificate('root'), certificate('middle')];
    const [good, bad] = [certificate('good'), certificate('bad')];
    pki.revoke('middle', 'bad');
    const both = read(pki.list('middle') + pki.list('root'));
    const now = Date.now() + 1000;
    const whole = ClientAuthorities.of(authorities, both);
    t.equal(whole.objection(good, strict, now), undefined);
    t.equal(whole.objection(bad, strict, now), 'it was revoked');
    t.equal(whole.revoked, 1);
    const late = (whole.nextUpdateMs ?? 0) + 1;
    t.equal(whole.objection(good, strict, late), 'the revocation list is past its time');
    t.equal(whole.objection(good, { crl: 'chain', expiredCrl: 'accept' }, late), undefined);
    t.equal(whole.objection(bad, { crl: 'chain', expiredCrl: 'accept' }, late), 'it was revoked');

    const leafOnly = ClientAuthorities.of(authorities, both.slice(0, 1));
    t.equal(
      leafOnly.objection(good, strict, now),
      'its issuer has no revocation list',
      'a chain rule needs a list of the root too',
    );
    t.equal(leafOnly.objection(good, { crl: 'leaf', expiredCrl: 'refuse' }, now), undefined);
    t.equal(leafOnly.objection(bad, { crl: 'leaf', expiredCrl: 'refuse' }, now), 'it was revoked');

    pki.revoke('root', 'middle');
    const fallen = ClientAuthorities.of(authorities, [...both.slice(0, 1), ...read(pki.list('root'))]);
    t.equal(
      fallen.objection(good, strict, now),
      'it was revoked',
      'a leaf falls with the authority that issued it',
    );
    t.equal(
      ClientAuthorities.of(authorities, undefined).objection(bad, strict, now),
      undefined,
      'without a file nothing is revoked',
    );
    t.ok(both[0]?.isSignedBy(authorities[1]?.publicKey ?? good.publicKey));
    t.notOk(
      both[0]?.isSignedBy(authorities[0]?.publicKey ?? good.publicKey),
      'a list is not signed by another authority',
    );
  });
}

t.test('text that is cut, changed or of another kind is not read as a valid revocation list', async (t) => {
  const authority = await createAuthority('clients');
  const revoked = await authority.issueClient({ commonName: 'w' });
  const pem = await authority.revocationList([revoked]);
  const key = new X509Certificate(authority.certificatePem).publicKey;
  const [list] = read(pem);
  t.ok(list?.isSignedBy(key));
  t.same(list && namesOf(list.serials), [revoked.serialNumber.replace(/^0+/, '')]);
  t.equal(read(pem + pem).length, 2);
  for (const text of [
    '',
    'nothing',
    pem.slice(0, -30),
    `${pem}-----BEGIN X509 CRL-----\n`,
    authority.certificatePem,
  ]) {
    t.type(readRevocationLists(text), 'string');
  }
  const der = Buffer.from(pem.replaceAll(/-----.*-----|\s/g, ''), 'base64');
  const rewrap = (bytes: Buffer): string =>
    `-----BEGIN X509 CRL-----\n${bytes.toString('base64')}\n-----END X509 CRL-----\n`;
  for (let length = 0; length < der.length; length += 1) {
    t.type(
      readRevocationLists(rewrap(der.subarray(0, length))),
      'string',
      `a list cut to ${length} bytes is refused`,
    );
  }
  for (let at = 0; at < der.length; at += 1) {
    const changed = Buffer.from(der);
    changed.writeUInt8((changed[at] ?? 0) ^ 1, at);
    const found = readRevocationLists(rewrap(changed));
    const believed = typeof found !== 'string' && found.some((each) => each.isSignedBy(key));
    t.notOk(believed, `a list with byte ${at} changed is not believed`);
  }
});
