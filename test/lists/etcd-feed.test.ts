/** Lists in a real etcd: whole, by single keys, after a compaction, killed, paused and restarted. */
import t from 'tap';
import { parseAddress } from '../../gateway/core/address.ts';
import { EtcdFeed } from '../../gateway/lists/etcd-feed.ts';
import { EtcdServer } from '../../gateway/lists/etcd-server.ts';
import { type EtcdClient, etcdFor } from './etcd-client.ts';
import { follow } from './following.ts';
import { skipWithout, until } from './servers.ts';

const KEY = '/patchgate/tenant-a/fleet';
const skip = skipWithout('etcd', 'etcd-server');

const feedOf = (etcd: EtcdClient, key = KEY): EtcdFeed =>
  new EtcdFeed(new EtcdServer({ endpoints: [etcd.endpoint] }), key);

t.test('a key may hold a list with one prefix per line', { skip }, async (t) => {
  const etcd = await etcdFor(t);
  await etcd.put(KEY, '203.0.113.0/24 # offices\n2001:db8::/32\n');
  const { list, has, size, faults } = follow(t, feedOf(etcd));
  await list.settled();
  t.equal(size(), 2);
  t.ok(has('203.0.113.9'));
  await etcd.put(KEY, '198.51.100.0/24');
  t.ok(await until(() => has('198.51.100.1') && !has('203.0.113.9')));
  await etcd.put(KEY, '198.51.100.0/24\n10.0.0.1/8');
  t.ok(await until(() => faults().length > 0));
  t.same(faults(), [`etcd ${KEY}:2:1: 10.0.0.1/8 has host bits set: the prefix is 10.0.0.0/8`]);
  t.ok(has('198.51.100.1'), 'the last good list stays');
  await etcd.put(KEY, '10.0.0.0/8');
  t.ok(await until(() => has('10.1.1.1') && faults().length === 0));
});

t.test('a list may have one key per entry, and each entry changes by itself', { skip }, async (t) => {
  const etcd = await etcdFor(t);
  await etcd.put(`${KEY}/203.0.113.0/24`, '');
  await etcd.put(`${KEY}/office`, '198.51.100.0/24 # in the value');
  await etcd.put(`${KEY}-other/192.0.2.0/24`, '');
  await etcd.put(`${KEY}.x`, '192.0.2.0/24');
  const { list, has, size } = follow(t, feedOf(etcd));
  await list.settled();
  t.equal(size(), 2, 'keys with only the same beginning do not belong to it');
  t.match(
    list.contents?.placeOf(list.contents.tree.lookup(address('198.51.100.1'))?.number ?? -1),
    /fleet office/,
  );
  await etcd.put(`${KEY}/10.0.0.0/8`, `until=${new Date(Date.now() + 1500).toISOString()}`);
  t.ok(await until(() => has('10.1.1.1')));
  await etcd.remove(`${KEY}/203.0.113.0/24`);
  t.ok(await until(() => !has('203.0.113.9') && has('198.51.100.1')));
  t.ok(await until(() => !has('10.1.1.1')), 'an entry expires by itself');
});

t.test('a missing key is an empty list', { skip }, async (t) => {
  const etcd = await etcdFor(t);
  const { list, size, has } = follow(t, feedOf(etcd, '/nothing/'));
  await list.settled();
  t.equal(size(), 0);
  await etcd.put('/nothing/10.0.0.0/8', '');
  t.ok(await until(() => has('10.0.0.1')));
});

t.test(
  'while etcd is killed the last good list stays, and later changes are followed',
  { skip },
  async (t) => {
    const etcd = await etcdFor(t);
    await etcd.put(KEY, '203.0.113.0/24');
    const { list, has, faults } = follow(t, feedOf(etcd));
    await list.settled();
    await etcd.server.kill();
    t.ok(await until(() => faults().length > 0));
    t.match(faults(), [/cannot be read: /]);
    t.ok(has('203.0.113.9'));
    t.notOk(list.isCurrent);
    await etcd.server.restart();
    t.ok(await until(() => list.isCurrent), 'the list is read again');
    t.ok(await until(async () => (await etcd.put(KEY, '10.0.0.0/8').catch(() => undefined)) !== undefined));
    t.ok(await until(() => has('10.0.0.1') && !has('203.0.113.9')), 'the list is followed again');
  },
);

t.test('a paused etcd is reported within seconds, and followed again afterwards', { skip }, async (t) => {
  const etcd = await etcdFor(t);
  await etcd.put(KEY, '203.0.113.0/24');
  const { list, has, faults } = follow(t, feedOf(etcd));
  await list.settled();
  etcd.server.pause();
  t.ok(await until(() => faults().length > 0));
  t.ok(has('203.0.113.9'));
  etcd.server.resume();
  t.ok(await until(() => list.isCurrent));
  await etcd.put(KEY, '10.0.0.0/8');
  t.ok(await until(() => has('10.0.0.1')));
});

t.test('a watch whose revision was compacted away begins anew', { skip }, async (t) => {
  const etcd = await etcdFor(t);
  await etcd.put(KEY, '203.0.113.0/24');
  const { list, has } = follow(t, feedOf(etcd));
  await list.settled();
  etcd.server.pause();
  etcd.server.resume();
  for (let round = 0; round < 20; round++) {
    await etcd.compact(await etcd.put(KEY, `10.${round}.0.0/16`));
  }
  t.ok(await until(() => has('10.19.0.1') && !has('203.0.113.9')));
});

t.test('a server that does not answer is a fault, and the list counts as never read', async (t) => {
  const nobody = follow(t, new EtcdFeed(new EtcdServer({ endpoints: ['http://127.0.0.1:1'] }), KEY));
  await nobody.list.settled();
  t.match(nobody.faults(), [/http:\/\/127\.0\.0\.1:1 cannot be read: ECONNREFUSED/]);
  t.equal(nobody.size(), undefined, 'the list was never read');
});

function address(text: string) {
  const read = parseAddress(text);
  if (read === undefined) throw new Error(text);
  return read;
}
