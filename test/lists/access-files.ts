/** Certificates and passwords for etcd and Redis in a folder, as an operator would provide them. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Test } from 'tap';
import { AccessKeeper } from '../../gateway/certificates/access-keeper.ts';
import { formatFault } from '../../gateway/core/fault.ts';
import { createAuthority } from '../../gateway/demo/pki.ts';
import type { ServerAccess } from '../../gateway/lists/server-access.ts';
import { newFolder } from '../new-folder.ts';
import { type EtcdClient, etcdFor } from './etcd-client.ts';
import { freePort, type RunningServer, startRedis } from './servers.ts';

/** The only name in the certificate of the servers, without any address. */
export const NAME = 'servers.internal';

/** Absolute paths. */
export interface AccessFiles {
  readonly folder: string;
  /** The authority of the servers. */
  readonly ca: string;
  readonly serverCert: string;
  readonly serverKey: string;
  readonly cert: string;
  readonly key: string;
  /** A certificate with the name of a user of etcd. */
  readonly namedCert: string;
  readonly namedKey: string;
  /** An authority unrelated to the servers. */
  readonly otherCa: string;
  readonly password: string;
}

export async function accessFiles(t: Test, password = 's3cret'): Promise<AccessFiles> {
  const folder = await newFolder(t);
  const authority = await createAuthority('servers');
  const other = await createAuthority('others');
  const server = await authority.issueServer({ dnsNames: [NAME], alsoClient: true });
  // The JSON interface of etcd rejects certificates with a common name while it has users.
  const client = await authority.issueClient({ commonName: '', dnsNames: ['gateway.internal'] });
  const named = await authority.issueClient({ commonName: 'gateway' });
  const write = async (name: string, text: string): Promise<string> => {
    await writeFile(join(folder, name), text, { mode: 0o600 });
    return join(folder, name);
  };
  return {
    folder,
    ca: await write('ca.pem', authority.certificatePem),
    serverCert: await write('server.pem', server.certificatePem),
    serverKey: await write('server-key.pem', server.privateKeyPem),
    cert: await write('gateway.pem', client.certificatePem),
    key: await write('gateway-key.pem', client.privateKeyPem),
    namedCert: await write('named.pem', named.certificatePem),
    namedKey: await write('named-key.pem', named.privateKeyPem),
    otherCa: await write('other.pem', other.certificatePem),
    password: await write('password', `${password}\n`),
  };
}

/** Everything that `server` asks for: the authority, a certificate, the name. */
export function fullAccess(server: ServerAccess['server'], files: AccessFiles): ServerAccess {
  const { ca, cert, key } = files;
  return { server, tls: { ca, cert, key, serverName: NAME, minTlsVersion: 'TLSv1.3' } };
}

/** An etcd that asks for certificates of its authority; `plain` writes to it without one. */
export async function secureEtcd(
  t: Test,
  files: AccessFiles,
  options: readonly string[] = [],
): Promise<{ readonly url: string; readonly plain: EtcdClient }> {
  const url = `https://127.0.0.1:${await freePort()}`;
  const tls = ['--cert-file', files.serverCert, '--key-file', files.serverKey];
  const clients = ['--client-cert-auth', '--trusted-ca-file', files.ca];
  return { url, plain: await etcdFor(t, [...tls, ...clients, ...options], [url]) };
}

/** A Redis that asks for certificates of its authority; `port` takes writes without one. */
export async function secureRedis(
  t: Test,
  files: AccessFiles,
  options: readonly string[] = [],
): Promise<{ readonly url: string; readonly redis: RunningServer }> {
  const port = await freePort();
  const redis = await startRedis(t, [
    ...['--tls-port', String(port), '--tls-cert-file', files.serverCert, '--tls-key-file', files.serverKey],
    ...['--tls-ca-cert-file', files.ca, '--tls-auth-clients', 'yes', ...options],
  ]);
  return { url: `rediss://127.0.0.1:${port}`, redis };
}

/** Users of an etcd: root, and `gateway`, who may read below `/patchgate/` with the password. */
export async function withUsers({ plain }: { readonly plain: EtcdClient }, password: string): Promise<void> {
  await plain.ask('auth/user/add', { name: 'root', password: 'root' });
  await plain.ask('auth/user/add', { name: 'gateway', password });
  await plain.ask('auth/role/add', { name: 'root' });
  await plain.ask('auth/role/add', { name: 'reader' });
  await plain.ask('auth/user/grant', { user: 'root', role: 'root' });
  await plain.ask('auth/user/grant', { user: 'gateway', role: 'reader' });
  await mayRead(plain);
  await plain.ask('auth/enable', {});
  await plain.as('root', 'root');
}

const READ = { permType: 'READ', key: encode('/patchgate/'), range_end: encode('/patchgate0') };

export const mayRead = (plain: EtcdClient): Promise<object> =>
  plain.ask('auth/role/grant', { name: 'reader', perm: READ });

export const mayNotRead = (plain: EtcdClient): Promise<object> =>
  plain.ask('auth/role/revoke', { role: 'reader', key: READ.key, range_end: READ.range_end });

/** The reader of those files, as in a gateway. */
export function keeperFor(t: Test): AccessKeeper & { told(): readonly string[] } {
  const keeper = new AccessKeeper();
  t.teardown(() => keeper.close());
  return Object.assign(keeper, { told: () => keeper.faults.map(formatFault) });
}

function encode(text: string): string {
  return Buffer.from(text).toString('base64');
}
