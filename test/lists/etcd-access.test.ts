/** Lists in a real etcd with access control: certificates, users, tokens that expire, rights that are withdrawn. */
import { generateKeyPairSync } from 'node:crypto';
import { copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { EtcdFeed } from '../../gateway/lists/etcd-feed.ts';
import { EtcdServer } from '../../gateway/lists/etcd-server.ts';
import type { ServerAccess } from '../../gateway/lists/server-access.ts';
import {
  type AccessFiles,
  accessFiles,
  fullAccess,
  keeperFor,
  mayNotRead,
  mayRead,
  secureEtcd,
  withUsers,
} from './access-files.ts';
import { type Followed, follow } from './following.ts';
import { skipWithout, until } from './servers.ts';

const KEY = '/patchgate/tenant-a/fleet';
const skip = skipWithout('etcd', 'etcd-server');
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function followWith(t: Test, url: string, access: ServerAccess): Followed {
  const server = new EtcdServer({ endpoints: [url], access }, keeperFor(t).find);
  return follow(t, new EtcdFeed(server, KEY));
}

const asUser = (access: ServerAccess, { password }: AccessFiles): ServerAccess => ({
  ...access,
  user: 'gateway',
  passwordFile: password,
});

t.test('a list is read and followed over TLS with certificates on both sides', { skip }, async (t) => {
  const files = await accessFiles(t);
  const { url, plain } = await secureEtcd(t, files);
  await plain.put(KEY, '203.0.113.0/24');
  const { list, has, faults } = followWith(t, url, fullAccess('etcd', files));
  await list.settled();
  t.same(faults(), []);
  t.ok(has('203.0.113.9'));
  await plain.put(KEY, '10.0.0.0/8');
  t.ok(await until(() => has('10.0.0.1')));
});

t.test('a TLS failure is reported with the server, and nothing is read', { skip }, async (t) => {
  const files = await accessFiles(t);
  const { url, plain } = await secureEtcd(t, files);
  await plain.put(KEY, '203.0.113.0/24');
  const { tls } = fullAccess('etcd', files);
  const { serverName: _, ...unnamed } = tls ?? { minTlsVersion: 'TLSv1.3' as const };
  const { cert: _cert, key: _key, ...unshown } = tls ?? { minTlsVersion: 'TLSv1.3' as const };
  const rows = [
    [{ ...tls, ca: files.otherCa }, /\((?:UNABLE_TO_|SELF_SIGNED_)/],
    [unnamed, /IP: 127\.0\.0\.1 .*\(ERR_TLS_CERT_ALTNAME_INVALID\)$/],
    [unshown, /(?:certificate.* \(ERR_SSL_|ECONNRESET|UND_ERR_SOCKET)/],
    [{ ...tls, ca: join(files.folder, 'nothing') }, /its TLS or password files cannot be used$/],
  ] as const;
  for (const [wrong, expected] of rows) {
    const access = { server: 'etcd', tls: { minTlsVersion: 'TLSv1.3', ...wrong } } as const;
    const { list, faults, size } = followWith(t, url, access);
    t.ok(await until(() => faults().length > 0));
    t.match(faults(), [new RegExp(`^etcd ${KEY}:1:1: ${url} cannot be read: `)]);
    t.match(faults(), [expected]);
    t.equal(size(), undefined);
    list.close();
  }
});

t.test('changed files are used from then on, and nothing is lost in between', { skip }, async (t) => {
  const files = await accessFiles(t);
  const { url, plain } = await secureEtcd(t, files);
  await plain.put(KEY, '203.0.113.0/24');
  const ca = join(files.folder, 'trusted.pem');
  await copyFile(files.otherCa, ca);
  const { tls } = fullAccess('etcd', files);
  const access: ServerAccess = { server: 'etcd', tls: { minTlsVersion: 'TLSv1.3', ...tls, ca } };
  const { list, has, faults } = followWith(t, url, access);
  t.ok(await until(() => faults().length > 0));
  await copyFile(files.ca, ca);
  t.ok(await until(() => list.isCurrent && has('203.0.113.9')), 'the right authority is used');
  await copyFile(files.otherCa, ca);
  t.ok(await until(() => faults().length > 0), 'a connection made with another authority is not kept');
  t.ok(has('203.0.113.9'), 'the last good list stays');
  await copyFile(files.ca, ca);
  t.ok(await until(() => list.isCurrent, 20_000));
  await plain.put(KEY, '10.0.0.0/8');
  t.ok(await until(() => has('10.0.0.1')));
});

t.test(
  'a wrong password is reported without showing it, and the right one is used once it is there',
  { skip },
  async (t) => {
    const files = await accessFiles(t, 'wr0ng-s3cret');
    const etcd = await secureEtcd(t, files);
    await etcd.plain.put(KEY, '203.0.113.0/24');
    await withUsers(etcd, 'right');
    const { list, has, faults } = followWith(t, etcd.url, asUser(fullAccess('etcd', files), files));
    await list.settled();
    t.same(faults(), [
      `etcd ${KEY}:1:1: ${etcd.url} cannot be read: it answered 400, etcdserver: authentication failed, invalid user ID or password (user gateway)`,
    ]);
    await writeFile(files.password, 'right\n');
    t.ok(await until(() => list.isCurrent && has('203.0.113.9')));
    await etcd.plain.ask('auth/user/changepw', { name: 'gateway', password: 'another' });
    t.ok(await until(() => faults().length > 0), 'the token of the old password is rejected too');
    t.ok(has('203.0.113.9'), 'the last good list stays');
    await writeFile(files.password, 'another');
    t.ok(await until(() => list.isCurrent, 20_000));
    await etcd.plain.put(KEY, '10.0.0.0/8');
    t.ok(await until(() => has('10.0.0.1')));
  },
);

t.test('an expired token is renewed without anybody noticing', { skip }, async (t) => {
  const files = await accessFiles(t);
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const [privateFile, publicFile] = [join(files.folder, 'jwt.pem'), join(files.folder, 'jwt.pub')];
  await writeFile(privateFile, privateKey.export({ type: 'pkcs1', format: 'pem' }));
  await writeFile(publicFile, publicKey.export({ type: 'spki', format: 'pem' }));
  const etcd = await secureEtcd(t, files, [
    ...['--auth-token', `jwt,pub-key=${publicFile},priv-key=${privateFile},sign-method=RS256,ttl=2s`],
  ]);
  await etcd.plain.put(KEY, '203.0.113.0/24');
  await withUsers(etcd, 's3cret');
  const { list, has, changes } = followWith(t, etcd.url, asUser(fullAccess('etcd', files), files));
  await list.settled();
  t.ok(has('203.0.113.9'));
  const before = changes();
  await sleep(7000);
  t.equal(changes(), before);
  t.ok(list.isCurrent);
  await etcd.plain.as('root', 'root');
  await etcd.plain.put(KEY, '10.0.0.0/8');
  t.ok(await until(() => has('10.0.0.1')));
});

t.test('a user may be named before etcd has users, and is used once it has', { skip }, async (t) => {
  const files = await accessFiles(t);
  const etcd = await secureEtcd(t, files);
  await etcd.plain.put(KEY, '203.0.113.0/24');
  const { list, has, faults } = followWith(t, etcd.url, asUser(fullAccess('etcd', files), files));
  await list.settled();
  t.ok(has('203.0.113.9'));
  await withUsers(etcd, 's3cret');
  await sleep(2500);
  await etcd.plain.put(KEY, '10.0.0.0/8');
  t.ok(await until(() => has('10.0.0.1')));
  t.same(faults(), []);
  t.ok(list.isCurrent);
});

t.test('missing rights are reported, and what was read before stays', { skip }, async (t) => {
  const files = await accessFiles(t);
  const etcd = await secureEtcd(t, files);
  await etcd.plain.put(KEY, '203.0.113.0/24');
  await withUsers(etcd, 's3cret');
  const { list, has, faults } = followWith(t, etcd.url, asUser(fullAccess('etcd', files), files));
  await list.settled();
  t.ok(has('203.0.113.9'));
  await mayNotRead(etcd.plain);
  // The running watch may be canceled first, which is reported as well.
  const told = `${etcd.url} cannot be read: it answered 403, etcdserver: permission denied (user gateway)`;
  t.ok(await until(() => faults().some((fault) => fault.includes(told)), 20_000));
  t.equal(faults().length, 1);
  t.ok(has('203.0.113.9'));
  await mayRead(etcd.plain);
  t.ok(await until(() => list.isCurrent, 20_000));
});

t.test(
  'a certificate is no user: etcd refuses one with a name and asks for a user without',
  { skip },
  async (t) => {
    const files = await accessFiles(t);
    const etcd = await secureEtcd(t, files);
    await withUsers(etcd, 's3cret');
    const { faults } = followWith(t, etcd.url, fullAccess('etcd', files));
    t.ok(await until(() => faults().length > 0));
    t.match(faults(), [/cannot be read: it answered 400, etcdserver: user name is empty$/]);
    const named = fullAccess('etcd', { ...files, cert: files.namedCert, key: files.namedKey });
    const { faults: others } = followWith(t, etcd.url, asUser(named, files));
    t.ok(await until(() => others().length > 0));
    t.match(others(), [
      /it answered 400, CommonName of client sending a request against gateway will be ignored/,
    ]);
  },
);
