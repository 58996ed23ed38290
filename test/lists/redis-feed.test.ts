/** Lists in a real Redis: sets and strings, announced by the server or the channel, killed, paused and restarted. */
import t from 'tap';
import { prefixReader } from '../../gateway/lists/contents.ts';
import { ListRegistry } from '../../gateway/lists/list-registry.ts';
import { RedisFeed } from '../../gateway/lists/redis-feed.ts';
import { RedisServer } from '../../gateway/lists/redis-server.ts';
import { revokedTokens } from '../../gateway/lists/revoked.ts';
import { follow } from './following.ts';
import { redisWriter } from './redis-writer.ts';
import { type RunningServer, skipWithout, startRedis, until } from './servers.ts';

const KEY = 'tenant-a:fleet';
const skip = skipWithout('redis-server', 'redis-server');

const feedAt = (port: number, key = KEY): RedisFeed =>
  new RedisFeed(new RedisServer({ url: `redis://127.0.0.1:${port}` }), key);
const feedOf = ({ port }: RunningServer): RedisFeed => feedAt(port);

t.test('a set is followed by keyspace notifications', { skip }, async (t) => {
  const redis = await startRedis(t);
  const client = redisWriter(t, redis);
  await client.sadd(KEY, '203.0.113.0/24 # offices', '2001:db8::/32');
  const { list, has, size, faults } = follow(t, feedOf(redis));
  await list.settled();
  t.equal(size(), 2);
  await new Promise((resolve) => setTimeout(resolve, 200));
  await client.sadd(KEY, '10.0.0.0/8');
  t.ok(await until(() => has('10.0.0.1')));
  await client.srem(KEY, '203.0.113.0/24 # offices');
  t.ok(await until(() => !has('203.0.113.9')));
  await client.sadd(KEY, 'rubbish');
  t.ok(await until(() => faults().length > 0));
  t.same(faults(), [`redis ${KEY} rubbish:1:1: rubbish is not an address or a prefix`]);
  t.ok(has('10.0.0.1'), 'the last good list stays');
  await client.srem(KEY, 'rubbish');
  t.ok(await until(() => faults().length === 0), 'the fault goes away even if the set is what it was before');
  await client.del(KEY);
  t.ok(await until(() => size() === 0));
});

t.test('a set is followed entry by entry over the channel without reading all of it', { skip }, async (t) => {
  const redis = await startRedis(t);
  const client = redisWriter(t, redis);
  await client.config('SET', 'notify-keyspace-events', '');
  await client.sadd(KEY, '203.0.113.0/24');
  const { list, has } = follow(t, feedOf(redis));
  await list.settled();
  t.ok(await until(async () => (await client.pubsub('NUMSUB', `${KEY}:changes`))[1] === 1));
  await new Promise((resolve) => setTimeout(resolve, 200));
  await client.config('RESETSTAT');
  await client.sadd(KEY, '198.51.100.0/24');
  await client.publish(`${KEY}:changes`, '+ 198.51.100.0/24');
  t.ok(await until(() => has('198.51.100.1') && has('203.0.113.9')));
  await client.srem(KEY, '203.0.113.0/24');
  await client.publish(`${KEY}:changes`, '- 203.0.113.0/24');
  t.ok(await until(() => !has('203.0.113.9')));
  await client.publish(`${KEY}:changes`, '+ 0.0.0.0/0');
  await client.publish(`${KEY}:changes`, '- 198.51.100.0/24');
  await client.sadd(KEY, '10.0.0.0/8');
  await client.publish(`${KEY}:changes`, '+ 10.0.0.0/8');
  t.ok(await until(() => has('10.0.0.1')));
  t.ok(has('198.51.100.1') && !has('192.0.2.1'), 'the set has the last word, not the publisher');
  t.notMatch(await client.info('commandstats'), /cmdstat_smembers/);
  await client.sadd(KEY, '203.0.113.0/24');
  await client.publish(`${KEY}:changes`, 'all');
  t.ok(await until(() => has('203.0.113.9')));
});

t.test('entries that change together are reported together', { skip }, async (t) => {
  const redis = await startRedis(t);
  const client = redisWriter(t, redis);
  await client.config('SET', 'notify-keyspace-events', '');
  const prefixes = Array.from({ length: 2000 }, (_, index) => `10.${index >> 8}.${index & 255}.0/24`);
  await client.sadd(KEY, prefixes);
  const told: string[][] = [];
  const feed = feedOf(redis);
  t.teardown(() => feed.stop());
  await feed.start({
    onSnapshot: (snapshot) => {
      if (snapshot.kind === 'keyed') told.push([...snapshot.entries].map(([, text]) => text));
    },
    onFault: (problem) => t.fail(problem),
    onWarning: (warning) => t.fail(warning),
  });
  t.ok(await until(async () => (await client.pubsub('NUMSUB', `${KEY}:changes`))[1] === 1));
  await new Promise((resolve) => setTimeout(resolve, 200));
  await client.eval(
    `for _, prefix in ipairs(ARGV) do
      redis.call('SREM', KEYS[1], prefix)
      redis.call('PUBLISH', KEYS[1] .. ':changes', '- ' .. prefix)
    end`,
    1,
    KEY,
    ...prefixes.slice(1),
  );
  t.ok(await until(() => told.at(-1)?.length === 1));
  t.same(told.at(-1), prefixes.slice(0, 1));
  t.ok(told.length < 100, `1999 messages are reported in few snapshots: ${told.length}`);
});

t.test('additions are found in time even if nobody announces them', { skip }, async (t) => {
  const redis = await startRedis(t);
  const client = redisWriter(t, redis);
  await client.config('SET', 'notify-keyspace-events', '');
  await client.sadd(KEY, '203.0.113.0/24');
  const { list, has } = follow(t, feedOf(redis));
  await list.settled();
  await new Promise((resolve) => setTimeout(resolve, 200));
  const soon = (isSo: () => boolean): Promise<boolean> => until(isSo, 5000);
  await client.sadd(KEY, '10.0.0.0/8');
  t.ok(await soon(() => has('10.0.0.1')), 'an added member is found');
  await client.set(KEY, '198.51.100.0/24\n');
  t.ok(await soon(() => has('198.51.100.1') && !has('10.0.0.1')), 'a text in its place is found');
  await client.append(KEY, '192.0.2.0/24\n');
  t.ok(await soon(() => has('192.0.2.1')), 'an added line is found');
});

t.test('a string may hold one prefix per line, and a key of another type is a fault', { skip }, async (t) => {
  const redis = await startRedis(t);
  const client = redisWriter(t, redis);
  await client.set(KEY, '203.0.113.0/24\n');
  const { list, has, faults } = follow(t, feedOf(redis));
  await list.settled();
  t.ok(has('203.0.113.9'));
  await new Promise((resolve) => setTimeout(resolve, 200));
  await client.set(KEY, '10.0.0.0/8');
  t.ok(await until(() => has('10.0.0.1') && !has('203.0.113.9')));
  await client.del(KEY);
  await client.lpush(KEY, 'x');
  t.ok(await until(() => faults().length > 0));
  t.match(faults(), [/it is a list, not a set or a string/]);
});

t.test('a Redis that was killed and restarted is read again with its new contents', { skip }, async (t) => {
  const redis = await startRedis(t);
  const client = redisWriter(t, redis);
  await client.sadd(KEY, '203.0.113.0/24');
  const { list, has, faults } = follow(t, feedOf(redis));
  await list.settled();
  await redis.kill();
  await client.disconnect();
  t.ok(await until(() => faults().length > 0 || list.isCurrent));
  t.ok(has('203.0.113.9'));
  await redis.restart();
  const again = redisWriter(t, redis);
  await again.sadd(KEY, '10.0.0.0/8');
  t.ok(await until(() => has('10.0.0.1') && !has('203.0.113.9') && list.isCurrent));
});

t.test('while Redis is paused the last good list stays, and changes come afterwards', { skip }, async (t) => {
  const redis = await startRedis(t);
  const client = redisWriter(t, redis);
  await client.sadd(KEY, '203.0.113.0/24');
  const { list, has, faults } = follow(t, feedOf(redis));
  await list.settled();
  await new Promise((resolve) => setTimeout(resolve, 200));
  redis.pause();
  t.ok(await until(() => faults().length > 0));
  t.ok(has('203.0.113.9'));
  redis.resume();
  await client.sadd(KEY, '10.0.0.0/8');
  t.ok(await until(() => has('10.0.0.1') && list.isCurrent));
});

t.test('a missing server is a fault, and the list counts as never read', async (t) => {
  const { list, faults, size } = follow(t, feedAt(1));
  await list.settled();
  t.match(faults(), [/redis tenant-a:fleet:1:1: redis:\/\/127\.0\.0\.1:1 cannot be read: /]);
  t.equal(size(), undefined, 'the list was never read');
});

t.test('lists of one server share its connections, and each gets its own changes', { skip }, async (t) => {
  const redis = await startRedis(t);
  const client = redisWriter(t, redis);
  const registry = new ListRegistry({ mode: 'follow' });
  t.teardown(() => registry.close());
  const url = `redis://127.0.0.1:${redis.port}`;
  const lists = await Promise.all(
    ['a', 'b', 'c'].map((key) => registry.of(prefixReader).list({ kind: 'redis', at: { url }, key })),
  );
  const revoked = await registry.of(revokedTokens).list({ kind: 'redis', at: { url }, key: 'r' });
  await Promise.all([...lists, revoked].map((list) => list.settled()));
  const connections = async (): Promise<number> =>
    String(await client.client('LIST'))
      .trimEnd()
      .split('\n').length - 1;
  t.equal(await connections(), 2);
  t.ok(await until(async () => (await client.pubsub('NUMSUB', 'r:changes'))[1] === 1));
  await client.sadd('b', '203.0.113.0/24');
  await client.sadd('r', 'jti:1');
  const sizes = (): readonly number[] => lists.map(({ contents }) => contents?.tree.size ?? -1);
  t.ok(await until(async () => sizes()[1] === 1));
  t.same(sizes(), [0, 1, 0]);
  t.ok(await until(async () => revoked.contents?.names.has('jti:1') === true));
  registry.retain(new Set([lists[0]]));
  t.ok(await until(async () => (await client.pubsub('NUMSUB', 'b:changes'))[1] === 0));
  await client.sadd('a', '10.0.0.0/8');
  t.ok(await until(async () => sizes()[0] === 1), 'the removal of the others leaves this list its own');
  registry.close();
  t.ok(await until(async () => (await connections()) === 0), 'closing the last list closes the connections');
});
