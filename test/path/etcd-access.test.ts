/** Tenants in a real etcd that asks for certificates and a user, with faults reported if they do not fit. */
import { writeFile } from 'node:fs/promises';
import t from 'tap';
import { accessFiles, NAME, secureEtcd, withUsers } from '../lists/access-files.ts';
import { skipWithout, until } from '../lists/servers.ts';
import {
  faultsIn,
  has,
  keyOf,
  metricsOf,
  OK,
  PREFIX,
  readinessOf,
  statusOf,
  tenantText,
} from './etcd-stage.ts';
import { rawNode, setStage } from './stage.ts';

const skip = skipWithout('etcd', 'etcd-server');

t.test('tenants are read with the certificate and the password from files', { skip }, async (t) => {
  const files = await accessFiles(t, 'wr0ng-s3cret');
  const etcd = await secureEtcd(t, files);
  await etcd.plain.put(keyOf('tenant-b'), tenantText('tenant-b'));
  await withUsers(etcd, 'right');
  const node = await rawNode(t, (socket) => socket.write(OK));
  const stage = await setStage(t, {
    nodes: [node.address],
    gateway: `  etcd:
    endpoints: ['${etcd.url}']
    tenants: ${PREFIX}
    tls: { ca: ${files.ca}, cert: ${files.cert}, key: ${files.key}, serverName: ${NAME} }
    user: gateway
    passwordFile: ${files.password}
`,
  });
  t.same(faultsIn(await statusOf(stage)), [
    `etcd ${PREFIX}:1:1: ${etcd.url} cannot be read: it answered 400, etcdserver: authentication failed, invalid user ID or password (user gateway)`,
  ]);
  t.equal(await readinessOf(stage), 503);
  await writeFile(files.password, 'right');
  t.ok(await until(() => has(stage, 'tenant-a', 'tenant-b')));
  t.equal(await readinessOf(stage), 200);
  t.match(
    await metricsOf(stage),
    /\npatchgate_certificate_not_after_timestamp_seconds\{server_name="etcd",role="node-chain"\} /,
  );
  await writeFile(files.password, '\n');
  const held = `${files.password}:1:1: holds no password (expected one line of at most 4096 characters)`;
  t.ok(await until(async () => faultsIn(await statusOf(stage)).includes(held)));
  await etcd.plain.put(keyOf('tenant-c'), tenantText('tenant-c'));
  t.ok(
    await until(async () => (await statusOf(stage)).tenants.length === 3),
    'the last good password is still used',
  );
  t.notMatch(JSON.stringify(await statusOf(stage)), 's3cret');
});
