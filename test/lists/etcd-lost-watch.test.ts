/** A watch whose connection is lost without a word, while etcd answers all else, is noticed. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { EtcdFeed } from '../../gateway/lists/etcd-feed.ts';
import { EtcdServer } from '../../gateway/lists/etcd-server.ts';
import { type EtcdClient, etcdFor } from './etcd-client.ts';
import { follow } from './following.ts';
import { skipWithout, until } from './servers.ts';

const KEY = '/patchgate/tenant-a/fleet';
const skip = skipWithout('etcd', 'etcd-server');

/** A way to etcd that may lose its watches: of those it had, no byte comes through any more, and nobody is told. */
async function lossyWay(t: Test, etcd: EtcdClient) {
  const watches = new Set<Socket>();
  const lost = new Set<Socket>();
  const line = createServer((near) => {
    const far = connect(etcd.server.port, '127.0.0.1');
    near.on('data', (bytes) => {
      if (bytes.includes('/v3/watch')) watches.add(near);
      if (!lost.has(near)) far.write(bytes);
    });
    far.on('data', (bytes) => {
      if (!lost.has(near)) near.write(bytes);
    });
    near.on('error', () => undefined).on('close', () => far.destroy());
    far.on('error', () => undefined).on('close', () => near.destroy());
  }).listen(0, '127.0.0.1');
  t.teardown(() => line.close());
  await once(line, 'listening');
  return {
    endpoint: `http://127.0.0.1:${(line.address() as AddressInfo).port}`,
    watches,
    lose: () => {
      for (const each of watches) lost.add(each);
    },
  };
}

async function setList(t: Test) {
  const etcd = await etcdFor(t);
  await etcd.put(`${KEY}/10.0.0.0/8`, '');
  await etcd.put(`${KEY}/192.0.2.0/24`, '');
  await etcd.put(`${KEY}-other`, 'a key beside the list');
  const way = await lossyWay(t, etcd);
  const feed = new EtcdFeed(new EtcdServer({ endpoints: [way.endpoint] }), KEY);
  const followed = follow(t, feed);
  await followed.list.settled();
  await etcd.put(`${KEY}/198.51.100.0/24`, '');
  t.ok(await until(() => followed.has('198.51.100.1')), 'followed before');
  return { etcd, way, ...followed };
}

/** What is done to the list, and whether it came. */
const changes: ReadonlyMap<string, (etcd: EtcdClient) => Promise<unknown>> = new Map([
  ['an entry is added', (etcd) => etcd.put(`${KEY}/203.0.113.0/24`, '')],
  ['an entry is removed', (etcd) => etcd.remove(`${KEY}/10.0.0.0/8`)],
  ['an entry is changed', (etcd) => etcd.put(`${KEY}/10.0.0.0/8`, '203.0.113.0/24')],
]);

for (const [what, change] of changes) {
  t.test(`${what} while the watch is lost: the list is read again`, { skip }, async (t) => {
    const { etcd, way, has, faults, list } = await setList(t);
    way.lose();
    await change(etcd);
    const isNew = (): boolean => has('203.0.113.1') || !has('10.0.0.1');
    t.ok(await until(isNew, 10_000));
    t.same(faults(), []);
    await etcd.put(`${KEY}/233.252.0.0/24`, '');
    t.ok(await until(() => has('233.252.0.1')));
    t.equal(way.watches.size, 2, 'and is followed by another watch');
    list.close();
  });
}

t.test('a watch that tells all is left alone, however much changes', { skip }, async (t) => {
  const { etcd, way, has } = await setList(t);
  const endMs = Date.now() + 7000;
  for (let round = 0; Date.now() < endMs; round++) {
    await etcd.put(`${KEY}/233.252.0.0/24`, `until=2099-01-01T00:00:00.${100 + (round % 900)}Z`);
    if (round % 2 === 0) await etcd.remove(`${KEY}/198.51.100.0/24`);
    else await etcd.put(`${KEY}/198.51.100.0/24`, '');
    await etcd.put(round % 3 === 0 ? `${KEY}-other` : '/elsewhere', String(round));
  }
  await etcd.put(`${KEY}/203.0.113.0/24`, '');
  t.ok(await until(() => has('203.0.113.1')));
  t.equal(way.watches.size, 1);
});
