/** Tenants in a real etcd take effect as they are written, completely and with their faults reported. */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { createAuthority } from '../../gateway/demo/pki.ts';
import { etcdFor } from '../lists/etcd-client.ts';
import { skipWithout, until } from '../lists/servers.ts';
import {
  faultsIn,
  has,
  keyOf,
  metricsOf,
  OK,
  PREFIX,
  readinessOf,
  stageWith,
  statusOf,
  tenantText,
} from './etcd-stage.ts';
import { exchange, HOST, isWhole, rawNode, setStage, sleep, writeCertificates } from './stage.ts';

const skip = skipWithout('etcd', 'etcd-server');

t.test('a written tenant is in force at every gateway, and gone when deleted', { skip }, async (t) => {
  const etcd = await etcdFor(t);
  const node = await rawNode(t, (socket) => socket.write(OK));
  const gateway = `  etcd: { endpoints: ['${etcd.endpoint}'], tenants: ${PREFIX} }`;
  const stage = await setStage(t, { nodes: [node.address], gateway });
  const others = [
    await setStage(t, { nodes: [node.address], gateway }),
    await setStage(t, { nodes: [node.address], gateway }),
  ];
  const stages = [stage, ...others];
  const allHave = async (...tenants: readonly string[]): Promise<boolean> =>
    (await Promise.all(stages.map((each) => has(each, ...tenants)))).every(Boolean);
  const authority = await createAuthority('more servers');
  const server = await authority.issueServer({ dnsNames: ['b.test'] });
  await writeCertificates(join(stage.folder, 'certs', 'b.test'), server, stage.clients.certificatePem);
  const revision = await etcd.put(keyOf('tenant-b'), tenantText('tenant-b', 'b.test', node.address));
  const writtenMs = performance.now();
  t.ok(await until(() => allHave('tenant-a', 'tenant-b')));
  t.comment(`in force at three gateways ${(performance.now() - writtenMs).toFixed(0)} ms after the write`);
  const statuses = await Promise.all(stages.map(statusOf));
  t.equal(new Set(statuses.map(({ digest }) => digest)).size, 1);
  for (const status of statuses)
    t.match(status, {
      etcd: { revision, current: true },
      tenants: [{ origin: 'file' }, { origin: 'etcd' }],
    });
  const socket = await stage.connect({ servername: 'b.test', ca: authority.certificatePem });
  const get = 'GET /open/x HTTP/1.1\r\nHost: b.test\r\n\r\n';
  t.match(await exchange(socket, get, isWhole), /^HTTP\/1\.1 200/);
  await etcd.remove(keyOf('tenant-b'));
  t.ok(await until(() => allHave('tenant-a')));
  t.match(await exchange(socket, get, isWhole), /^HTTP\/1\.1 421/, 'nobody answers to its name any more');
  socket.destroy();
});

t.test('a fault in a text stops no other tenant and is reported with its place', { skip }, async (t) => {
  const etcd = await etcdFor(t);
  await etcd.putTogether({
    [keyOf('tenant-b')]: tenantText('tenant-b'),
    [keyOf('tenant-c')]: tenantText('tenant-c').replace('upstream: sync', 'upstream: snyc'),
  });
  const stage = await stageWith(t, etcd.endpoint);
  const fault = `etcd ${keyOf('tenant-c')}:8:15 routes[0].upstream: unknown upstream snyc (expected sync)`;
  t.match(await statusOf(stage), { tenants: [{ name: 'tenant-a' }, { name: 'tenant-b' }] });
  t.same(faultsIn(await statusOf(stage)), [fault], 'the fault does not prevent the start');
  t.match(await metricsOf(stage), '\npatchgate_policy_last_reload_successful 0\n');
  t.equal(await readinessOf(stage), 200);
  await etcd.put(keyOf('tenant-c'), tenantText('tenant-c'));
  t.ok(await until(() => has(stage, 'tenant-a', 'tenant-b', 'tenant-c')));
  t.match(await metricsOf(stage), '\npatchgate_policy_last_reload_successful 1\n');
  const { generation } = await statusOf(stage);
  await etcd.put(keyOf('tenant-c'), 'tenant: [');
  t.ok(await until(async () => faultsIn(await statusOf(stage)).length > 0));
  const status = await statusOf(stage);
  t.match(status, { generation, tenants: [{}, {}, { name: 'tenant-c' }] }, 'the last good tenant stays');
  t.match(faultsIn(status), [new RegExp(`^etcd ${keyOf('tenant-c')}:1:10: `)]);
});

t.test('a tenant that also has a file stays as its file says, and both are named', { skip }, async (t) => {
  const etcd = await etcdFor(t);
  await etcd.put(keyOf('tenant-a'), tenantText('tenant-a', 'other.test'));
  const stage = await stageWith(t, etcd.endpoint);
  const { tenants, faults } = await statusOf(stage);
  t.match(tenants, [{ name: 'tenant-a', origin: 'file', server_names: [HOST] }]);
  const file = join(stage.folder, 'policies', 'tenants', 'tenant-a.yaml');
  t.same(faults, [
    `etcd ${keyOf('tenant-a')}:1:1: the tenant also has a file, which takes precedence: ${file} (expected only one of the two)`,
  ]);
  await rm(file);
  await stage.gateway.reload();
  t.match(
    (await statusOf(stage)).tenants,
    [{ origin: 'etcd', server_names: ['other.test'] }],
    'the text in etcd takes over',
  );
});

t.test('a server name of a file cannot be taken by a text in etcd', { skip }, async (t) => {
  const etcd = await etcdFor(t);
  await etcd.put(keyOf('tenant-0'), tenantText('tenant-0', HOST));
  const stage = await stageWith(t, etcd.endpoint);
  const { tenants, faults } = await statusOf(stage);
  t.match(tenants, [{ name: 'tenant-a' }]);
  t.same(faults, [
    `etcd ${keyOf('tenant-0')}:2:15 serverNames[0]: server name ${HOST} already belongs to tenant tenant-a`,
  ]);
});

t.test(
  'files named in etcd are below the folder of the tenants, whatever the text says',
  { skip },
  async (t) => {
    const etcd = await etcdFor(t);
    const stage = await stageWith(t, etcd.endpoint);
    await writeFile(join(stage.folder, 'policies', 'tenants', 'x.cidr'), '203.0.113.0/24\n');
    const withList = (file: string): string =>
      `${tenantText('tenant-b')}addresses: { some: { file: '${file}' } }\nallow: [some]\n`;
    await etcd.put(keyOf('tenant-b'), withList('x.cidr'));
    t.ok(await until(() => has(stage, 'tenant-a', 'tenant-b')));
    for (const file of ['../gateway.yaml', '/etc/passwd', 'lists/../../gateway.yaml']) {
      await etcd.put(keyOf('tenant-b'), withList(file));
      t.ok(
        await until(async () =>
          faultsIn(await statusOf(stage)).some((each) => each.includes('leaves the tenants folder')),
        ),
        file,
      );
      await etcd.put(keyOf('tenant-b'), withList('x.cidr'));
      t.ok(await until(() => has(stage, 'tenant-a', 'tenant-b')));
    }
  },
);

t.test('garbage in the keys is reported and affects nobody', { skip }, async (t) => {
  const etcd = await etcdFor(t);
  const stage = await stageWith(t, etcd.endpoint);
  await etcd.put(keyOf('tenant-b'), Uint8Array.of(0xff, 0xfe, 0x00, 0x80));
  await etcd.put(keyOf('tenant-c'), '');
  await etcd.put(keyOf('tenant-d'), '\u0000\u0001\u001b[31m');
  await etcd.put(`${PREFIX}../x.yaml`, 'x');
  await etcd.put(`${PREFIX}\u001b[31m\n.yaml`, 'x');
  await etcd.put(`${PREFIX}${'x'.repeat(100_000)}`, 'x');
  for (let count = 0; count < 30; count++) await etcd.put(`${PREFIX}deep/${count}`, 'x');
  await etcd.put(keyOf('tenant-e'), tenantText('tenant-e'));
  t.ok(await until(async () => (await statusOf(stage)).tenants.length === 2));
  const { tenants, faults } = await statusOf(stage);
  t.same(
    tenants.map(({ name }) => name),
    ['tenant-a', 'tenant-e'],
  );
  t.ok(
    faults.every((fault) => fault.length < 400 && !/[\u0000-\u001f]/.test(fault)),
    'no key acts on a terminal',
  );
  t.ok(faults.includes(`etcd ${keyOf('tenant-b')}:1:1: is not valid UTF-8`));
  t.ok(
    faults.includes(`etcd ${PREFIX}:1:1: and 13 more keys that do not belong to a tenant`),
    'further keys are not reported one by one',
  );
  t.ok(faults.some((fault) => fault.startsWith(`etcd ${keyOf('tenant-c')}:1:1`)));
  t.ok(faults.some((fault) => fault.startsWith(`etcd ${keyOf('tenant-d')}:1:`)));
});

t.test('a burst of a thousand keys causes a handful of reloads', { skip }, async (t) => {
  const etcd = await etcdFor(t);
  const stage = await stageWith(t, etcd.endpoint);
  const before = await statusOf(stage);
  const began = performance.now();
  for (let from = 0; from < 1000; from += 50) {
    const names = Array.from({ length: 50 }, (_, index) => `t-${from + index}`);
    await Promise.all(names.map((name) => etcd.put(keyOf(name), tenantText(name))));
  }
  t.ok(await until(async () => (await statusOf(stage)).tenants.length === 1001));
  const ms = performance.now() - began;
  const reloads = (await statusOf(stage)).generation - before.generation;
  t.comment(`${reloads} reloads in ${ms.toFixed(0)} ms`);
  t.ok(reloads <= 2 + ms / 1000, 'there is one reload a second and one at the end');
});

t.test('the keys of one transaction come into force together or not at all', { skip }, async (t) => {
  const etcd = await etcdFor(t);
  const stage = await stageWith(t, etcd.endpoint);
  const names = ['x.test', 'y.test', 'z.test'];
  const tenants = ['tenant-b', 'tenant-c', 'tenant-d'];
  const turned = (turns: number): Record<string, string> =>
    Object.fromEntries(
      tenants.map((name, index) => [keyOf(name), tenantText(name, names[(index + turns) % 3])]),
    );
  await etcd.putTogether(turned(0));
  t.ok(await until(() => has(stage, 'tenant-a', ...tenants)));
  let going = true;
  const writing = (async () => {
    for (let turns = 1; turns <= 60; turns++) {
      await etcd.putTogether(turned(turns));
      await sleep(turns % 5 === 0 ? 150 : 5);
    }
    going = false;
  })();
  const seen = new Set<string>();
  while (going) {
    const status = await statusOf(stage);
    t.same(faultsIn(status), [], 'no name was ever claimed by two tenants');
    seen.add(
      status.tenants
        .slice(1)
        .map(({ server_names }) => server_names[0])
        .join(),
    );
    await sleep(2);
  }
  await writing;
  t.ok(seen.size > 1, 'several states were in force');
  t.ok(
    [...seen].every((each) =>
      ['x.test,y.test,z.test', 'y.test,z.test,x.test', 'z.test,x.test,y.test'].includes(each),
    ),
  );
});

t.test('files that someone is editing are not read because etcd has changed', { skip }, async (t) => {
  const etcd = await etcdFor(t);
  const stage = await stageWith(t, etcd.endpoint);
  const file = join(stage.folder, 'policies', 'tenants', 'tenant-a.yaml');
  await writeFile(join(stage.folder, 'policies', 'gateway.yaml'), 'gateway: {');
  await writeFile(file, 'tenant: [');
  await etcd.put(keyOf('tenant-b'), tenantText('tenant-b'));
  t.ok(await until(() => has(stage, 'tenant-a', 'tenant-b')));
  t.match(await stage.gateway.reload(), { successful: false });
  await etcd.put(keyOf('tenant-c'), tenantText('tenant-c'));
  t.ok(await until(async () => (await statusOf(stage)).tenants.length === 3), 'etcd is still followed');
  t.match(
    faultsIn(await statusOf(stage)),
    [/gateway\.yaml:1:/, /tenant-a\.yaml:1:/],
    'the faults of the files are still reported',
  );
});
