/** When etcd is killed, paused, compacted or missing, the known tenants stay in force. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { etcdFor } from '../lists/etcd-client.ts';
import { skipWithout, until } from '../lists/servers.ts';
import {
  faultsIn,
  has,
  keyOf,
  metricsOf,
  readinessOf,
  reloaded,
  stageWith,
  statusOf,
  tenantText,
} from './etcd-stage.ts';
import { exchange, HOST, isWhole } from './stage.ts';

const skip = skipWithout('etcd', 'etcd-server');

t.test(
  'while etcd is killed, paused or compacted the last good tenants stay, and later ones come',
  { skip },
  async (t) => {
    const etcd = await etcdFor(t);
    await etcd.put(keyOf('tenant-b'), tenantText('tenant-b'));
    const stage = await stageWith(t, etcd.endpoint);
    const away = async (): Promise<boolean> =>
      (await metricsOf(stage)).includes('\npatchgate_etcd_tenants_current 0\n');
    t.ok(await has(stage, 'tenant-a', 'tenant-b'));
    await etcd.server.kill();
    t.ok(await until(away));
    const status = await statusOf(stage);
    t.match(status, { etcd: { current: false }, tenants: [{ name: 'tenant-a' }, { name: 'tenant-b' }] });
    t.match(faultsIn(status), [/^etcd \/patchgate\/tenants\/:1:1: .* cannot be read: /]);
    t.same(await reloaded(stage), [false, 2]);
    t.equal(await readinessOf(stage), 200, 'it serves the tenants it knows');
    await etcd.server.restart();
    t.ok(
      await until(() =>
        etcd.put(keyOf('tenant-c'), tenantText('tenant-c')).then(
          () => true,
          () => false,
        ),
      ),
    );
    t.ok(await until(() => has(stage, 'tenant-a', 'tenant-b', 'tenant-c')));
    t.match(await metricsOf(stage), '\npatchgate_policy_last_reload_successful 1\n');
    etcd.server.pause();
    t.ok(await until(away));
    etcd.server.resume();
    t.ok(await until(() => has(stage, 'tenant-a', 'tenant-b', 'tenant-c')));
    etcd.server.pause();
    etcd.server.resume();
    for (let round = 0; round < 20; round++)
      await etcd.compact(await etcd.put(keyOf('tenant-d'), tenantText('tenant-d', `${round}.test`)));
    t.ok(await until(async () => (await statusOf(stage)).tenants.at(-1)?.server_names[0] === '19.test'));
  },
);

t.test(
  'if etcd is away at the start the gateway serves the tenants on disk and is not ready',
  { skip },
  async (t) => {
    const etcd = await etcdFor(t);
    await etcd.put(keyOf('tenant-b'), tenantText('tenant-b'));
    await etcd.server.kill();
    const stage = await stageWith(t, etcd.endpoint);
    const socket = await stage.connect();
    t.match(
      await exchange(socket, `GET /open/x HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`, isWhole),
      /^HTTP\/1\.1 200/,
    );
    socket.destroy();
    t.match(faultsIn(await statusOf(stage)), [/^etcd \/patchgate\/tenants\/:1:1: .* cannot be read: /]);
    const metrics = await metricsOf(stage);
    t.match(metrics, '\npatchgate_policy_last_reload_successful 0\n');
    t.match(metrics, '\npatchgate_etcd_tenants_current 0\n');
    t.equal(await readinessOf(stage), 503);
    await etcd.server.restart();
    t.ok(await until(() => has(stage, 'tenant-a', 'tenant-b')));
    t.equal(await readinessOf(stage), 200);
    t.match(await metricsOf(stage), '\npatchgate_policy_last_reload_successful 1\n');
  },
);

t.test(
  'a reload that names another etcd, which is away, keeps the tenants of the first',
  { skip },
  async (t) => {
    const etcd = await etcdFor(t);
    await etcd.put(keyOf('tenant-b'), tenantText('tenant-b'));
    const stage = await stageWith(t, etcd.endpoint);
    const file = join(stage.folder, 'policies', 'gateway.yaml');
    const written = await readFile(file, 'utf8');
    await writeFile(file, written.replace(etcd.endpoint, 'http://127.0.0.1:1'));
    t.same(await reloaded(stage), [false, 2]);
    await writeFile(file, written.replace(/ {2}etcd: .*\n/, ''));
    t.same(await reloaded(stage), [true, 1], 'without an etcd there are no tenants of it');
    t.equal((await statusOf(stage)).etcd, undefined);
  },
);
