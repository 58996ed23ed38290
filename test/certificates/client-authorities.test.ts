/** Who is revoked, by lists that openssl made and read: the leaf or the whole chain, in time or past it. */
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { ClientAuthorities, type RevocationRules } from '../../gateway/certificates/client-authorities.ts';
import { readRevocationLists } from '../../gateway/certificates/revocation-list.ts';
import { createAuthority } from '../../gateway/demo/pki.ts';

const strict: RevocationRules = { crl: 'chain', expiredCrl: 'refuse' };

/** A root, an authority below it and two leaves of that one; `openssl ca` keeps their lists. */
function opensslAuthorities(folder: string, keyOptions: readonly string[]) {
  const at = (name: string): string => join(folder, name);
  const openssl = (...args: readonly string[]): void =>
    void execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  const config = (name: string): string =>
    `[ca]\ndefault_ca=d\n[d]\ndatabase=${at(`${name}.db`)}\ncrlnumber=${at(`${name}.n`)}\ncertificate=${at(`${name}.pem`)}\nprivate_key=${at(`${name}.key`)}\ndefault_md=sha256\ndefault_crl_days=3\n`;
  const issue = (name: string, by: string | undefined, extensions: string): void => {
    openssl(
      'req',
      '-new',
      '-newkey',
      ...keyOptions,
      '-nodes',
      '-keyout',
      `${name}.key`,
      '-subj',
      `/CN=${name}`,
      '-out',
      `${name}.csr`,
    );
    writeFileSync(at('ext'), extensions);
    const signer =
      by === undefined
        ? ['-signkey', `${name}.key`]
        : ['-CA', `${by}.pem`, '-CAkey', `${by}.key`, '-CAcreateserial'];
    openssl(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      ...signer,
      '-days',
      '5',
      '-extfile',
      'ext',
      '-out',
      `${name}.pem`,
    );
    writeFileSync(at(`${name}.db`), '');
    writeFileSync(at(`${name}.n`), '01\n');
    writeFileSync(at(`${name}.cnf`), config(name));
  };
  issue('root', undefined, 'basicConstraints=critical,CA:true\n');
  issue('middle', 'root', 'basicConstraints=critical,CA:true\n');
  issue('good', 'middle', 'basicConstraints=CA:false\n');
  issue('bad', 'middle', 'basicConstraints=CA:false\n');
  return {
    certificate: (name: string) => new X509Certificate(readFileSync(at(`${name}.pem`))),
    revoke: (by: string, name: string) => openssl('ca', '-config', `${by}.cnf`, '-revoke', `${name}.pem`),
    list: (by: string): string => {
      openssl('ca', '-config', `${by}.cnf`, '-gencrl', '-out', `${by}.crl`);
      return readFileSync(at(`${by}.crl`), 'utf8');
    },
  };
}

function read(pem: string) {
  const lists = readRevocationLists(pem);
  if (typeof lists === 'string') throw new Error(lists);
  return lists;
}

for (const [kind, keyOptions] of [
  ['ECDSA', ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256']],
  ['RSA', ['rsa:2048']],
] as const) {
  t.test(kind, async (t) => {
    const pki = opensslAuthorities(t.testdir({}), keyOptions);
    const authorities = [pki.certificate('root'), pki.certificate('middle')];
    const [good, bad] = [pki.certificate('good'), pki.certificate('bad')];
    pki.revoke('middle', 'bad');
    const both = read(pki.list('middle') + pki.list('root'));
    const now = Date.now() + 1000;
    const whole = new ClientAuthorities(authorities, both);
    t.equal(whole.objection(good, strict, now), undefined);
    t.equal(whole.objection(bad, strict, now), 'it was revoked');
    t.equal(whole.revoked, 1);
    const late = (whole.nextUpdateMs ?? 0) + 1;
    t.equal(whole.objection(good, strict, late), 'the revocation list is past its time');
    t.equal(whole.objection(good, { crl: 'chain', expiredCrl: 'accept' }, late), undefined);
    t.equal(whole.objection(bad, { crl: 'chain', expiredCrl: 'accept' }, late), 'it was revoked');

    const leafOnly = new ClientAuthorities(authorities, both.slice(0, 1));
    t.equal(
      leafOnly.objection(good, strict, now),
      'there is no revocation list of its issuer',
      'the root gave none',
    );
    t.equal(leafOnly.objection(good, { crl: 'leaf', expiredCrl: 'refuse' }, now), undefined);
    t.equal(leafOnly.objection(bad, { crl: 'leaf', expiredCrl: 'refuse' }, now), 'it was revoked');

    pki.revoke('root', 'middle');
    const fallen = new ClientAuthorities(authorities, [...both.slice(0, 1), ...read(pki.list('root'))]);
    t.equal(fallen.objection(good, strict, now), 'it was revoked', 'with the authority that issued it');
    t.equal(
      new ClientAuthorities(authorities, undefined).objection(bad, strict, now),
      undefined,
      'no file, no list',
    );
    t.ok(both[0]?.isSignedBy(authorities[1]?.publicKey ?? good.publicKey));
    t.notOk(both[0]?.isSignedBy(authorities[0]?.publicKey ?? good.publicKey), 'not by another authority');
  });
}

t.test('what is cut, changed or something else is no list', async (t) => {
  const authority = await createAuthority('clients');
  const revoked = await authority.issueClient({ commonName: 'w' });
  const pem = await authority.revocationList([revoked]);
  const key = new X509Certificate(authority.certificatePem).publicKey;
  const [list] = read(pem);
  t.ok(list?.isSignedBy(key));
  t.same([...(list?.serials ?? [])], [revoked.serialNumber.replace(/^0+/, '')]);
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
    t.type(readRevocationLists(rewrap(der.subarray(0, length))), 'string', `${length} bytes`);
  }
  for (let at = 0; at < der.length; at += 1) {
    const changed = Buffer.from(der);
    changed.writeUInt8((changed[at] ?? 0) ^ 1, at);
    const found = readRevocationLists(rewrap(changed));
    const believed = typeof found !== 'string' && found.some((each) => each.isSignedBy(key));
    t.notOk(believed, `byte ${at} changed`);
  }
});
