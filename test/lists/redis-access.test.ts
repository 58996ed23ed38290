/** Lists and limits in a real Redis with access control: certificates on both sides, users, files that change. */
import { writeFile } from 'node:fs/promises';
import type { Redis } from 'ioredis';
import t, { type Test } from 'tap';
import { LimitStore } from '../../gateway/limits/limit-store.ts';
import { prefixReader } from '../../gateway/lists/contents.ts';
import { ListRegistry } from '../../gateway/lists/list-registry.ts';
import { RedisFeed } from '../../gateway/lists/redis-feed.ts';
import { RedisServer } from '../../gateway/lists/redis-server.ts';
import type { ServerAccess } from '../../gateway/lists/server-access.ts';
import { type AccessFiles, accessFiles, fullAccess, keeperFor, secureRedis } from './access-files.ts';
import { type Followed, follow } from './following.ts';
import { redisWriter } from './redis-writer.ts';
import { skipWithout, startRedis, until } from './servers.ts';

const KEY = 'tenant-a:fleet';
const skip = skipWithout('redis-server', 'redis-server');

const followWith = (t: Test, url: string, access: ServerAccess): Followed =>
  follow(t, new RedisFeed(new RedisServer({ url, access }, keeperFor(t).find), KEY));

async function storeWith(t: Test, url: string, access: ServerAccess, changes: string[]): Promise<LimitStore> {
  const state = { redis: url, access, prefix: 'p:', onFailure: 'local' } as const;
  const told = (isUp: boolean, reason: string): void => void changes.push(isUp ? 'up' : reason);
  const store = new LimitStore(state, told, { findAccess: keeperFor(t).find });
  t.teardown(() => store.close());
  await store.open();
  return store;
}

const asUser = (files: AccessFiles): ServerAccess => ({
  ...fullAccess('redis', files),
  user: 'gateway',
  passwordFile: files.password,
});

const withUser = (client: Redis, password: string): Promise<unknown> =>
  client.call('ACL', 'SETUSER', 'gateway', 'on', 'resetpass', `>${password}`, '~*', '&*', '+@all');

/** A list followed with certificate and password, and its writer. */
async function setList(t: Test) {
  const files = await accessFiles(t);
  const { url, redis } = await secureRedis(t, files);
  const client = redisWriter(t, redis);
  await withUser(client, 's3cret');
  await client.sadd(KEY, '203.0.113.0/24');
  const followed = followWith(t, url, asUser(files));
  await followed.list.settled();
  return { files, url, redis, client, ...followed };
}

t.test('lists are read and limits are shared over TLS with certificate and password', { skip }, async (t) => {
  const { files, url, client, has, faults } = await setList(t);
  t.same(faults(), []);
  t.ok(has('203.0.113.9'));
  await client.sadd(KEY, '10.0.0.0/8');
  t.ok(await until(() => has('10.0.0.1')));
  const store = await storeWith(t, url, asUser(files), []);
  t.ok(store.isUp);
});

t.test('a failed access is reported with the server and without the password', { skip }, async (t) => {
  const files = await accessFiles(t, 'wr0ng-s3cret');
  const { url, redis } = await secureRedis(t, files);
  await withUser(redisWriter(t, redis), 'right');
  const { tls } = fullAccess('redis', files);
  const { serverName: _, ...unnamed } = tls ?? { minTlsVersion: 'TLSv1.3' as const };
  const rows: readonly (readonly [ServerAccess, RegExp])[] = [
    [{ server: 'redis', tls: { minTlsVersion: 'TLSv1.3', ...tls, ca: files.otherCa } }, /certificate/],
    [{ server: 'redis', tls: unnamed }, /altnames/],
    [asUser(files), /WRONGPASS/],
  ];
  for (const [access, expected] of rows) {
    const { list, faults } = followWith(t, url, access);
    t.ok(await until(() => faults().some((fault) => expected.test(fault))), String(expected));
    t.match(faults(), [new RegExp(`^redis ${KEY}:1:1: ${url} cannot be read: `)]);
    t.notMatch(faults().join(), 's3cret');
    list.close();
    const changes: string[] = [];
    const store = await storeWith(t, url, access, changes);
    t.notOk(store.isUp);
    t.match(changes, [expected]);
    t.notMatch(changes.join(), 's3cret');
    store.close();
  }
});

t.test('a changed password is used from then on', { skip }, async (t) => {
  const { files, url, client, has, faults } = await setList(t);
  const changes: string[] = [];
  const store = await storeWith(t, url, asUser(files), changes);
  const clients = async (): Promise<readonly string[]> =>
    String(await client.client('LIST'))
      .split('\n')
      .filter((each) => each.includes(' user=gateway '));
  t.equal((await clients()).length, 3);
  const before = new Set((await clients()).map((each) => each.split(' ')[0]));
  await withUser(client, 'another');
  await writeFile(files.password, 'another\n');
  const isRenewed = async (): Promise<boolean> => {
    const now = await clients();
    return now.length === 3 && now.every((each) => !before.has(each.split(' ')[0]));
  };
  t.ok(await until(isRenewed), 'all three connections are new');
  t.same(changes, [], 'limits were shared all the time');
  t.ok(store.isUp);
  t.same(faults(), []);
  await client.sadd(KEY, '10.0.0.0/8');
  t.ok(await until(() => has('10.0.0.1')));
});

t.test(
  'channels its user may not hear are told, and heard once it may; other lists lose nothing',
  { skip },
  async (t) => {
    const redis = await startRedis(t);
    const client = redisWriter(t, redis);
    const allow = (...rules: readonly string[]) => client.call('ACL', 'SETUSER', 'gateway', ...rules);
    await allow('on', '>s3cret', '~*', '+@all', 'resetchannels', '&free:changes', '&__keyspace@0__:free');
    const warnings: string[] = [];
    const registry = new ListRegistry({
      mode: 'follow',
      onWarning: ({ place }, warning) => warnings.push(`${place}: ${warning}`),
    });
    t.teardown(() => registry.close());
    const at = { url: `redis://gateway:s3cret@127.0.0.1:${redis.port}` };
    const lists = ['deaf', 'free'].map((key) => registry.of(prefixReader).list({ kind: 'redis', at, key }));
    for (const list of await Promise.all(lists)) await list.settled();
    const heard = async (channel: string): Promise<boolean> =>
      (await client.pubsub('NUMSUB', channel))[1] === 1;
    t.ok(await until(() => heard('free:changes')));
    t.ok(await until(() => warnings.length > 0));
    t.match(warnings, [/^redis deaf: .*NOPERM.*the Redis user needs &__keyspace@0__:deaf &deaf:changes$/]);
    t.notOk(await heard('deaf:changes'));
    await allow('&deaf:changes', '&__keyspace@0__:deaf');
    t.ok(await until(() => heard('deaf:changes')), 'asked for again and again');
    t.equal(warnings.length, 1, 'and told once');
  },
);
