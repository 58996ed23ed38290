/** Redis and etcd full of garbage: what a gateway reads there is judged, and what it knew before still holds. */
import { Redis } from 'ioredis';
import t from 'tap';
import { skipWithout, startEtcd, startRedis, until } from '../lists/servers.ts';
import { exchange, HOST, isWhole, rawNode, type Stage, setStage } from './stage.ts';

const GARBAGE = ['999.1.1.1', 'not an address', '10.0.0.0/99', '\u0000\u00ff', '::/0/0', 'x'.repeat(5000)];
const [IN_ETCD, IN_REDIS, STRANGER] = ['203.0.113.7', '198.51.100.7', '192.0.2.7'];

async function ask(stage: Stage, client: string): Promise<string> {
  const socket = await stage.connect();
  const token = await stage.token({ model_id: undefined });
  const head = `GET /limited/vision HTTP/1.1\r\nHost: ${HOST}\r\nAuthorization: Bearer ${token}\r\nX-Forwarded-For: ${client}\r\n\r\n`;
  const answer = await exchange(socket, head, isWhole);
  socket.destroy();
  return answer.slice(9, 12);
}

async function faults({ admin }: Stage): Promise<readonly string[]> {
  return ((await (await fetch(`${admin}/policy`)).json()) as { readonly faults: string[] }).faults;
}

t.test(
  'garbage in the keys of lists and limits changes no verdict, and good keys take effect again',
  { skip: skipWithout('etcd', 'etcd-server') || skipWithout('redis-server', 'redis-server') },
  async (t) => {
    const [etcd, redis] = [await startEtcd(t), await startRedis(t)];
    const client = new Redis(redis.port, '127.0.0.1');
    t.teardown(() => client.disconnect());
    const inEtcd = async (what: 'put' | 'deleterange', entry: string): Promise<boolean> => {
      const body = JSON.stringify({ key: Buffer.from(`/fleet/${entry}`).toString('base64') });
      const url = `http://127.0.0.1:${etcd.port}/v3/kv/${what}`;
      return (await fetch(url, { method: 'POST', body }).catch(() => undefined))?.ok === true;
    };
    t.ok(await until(() => inEtcd('put', IN_ETCD)));
    await client.sadd('fleet', IN_REDIS);
    const node = await rawNode(t, (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
    const stage = await setStage(t, {
      nodes: [node.address],
      listener: '      trustedProxies: [127.0.0.0/8]',
      gateway: `  etcd: { endpoints: ['http://127.0.0.1:${etcd.port}'] }\n  state: { redis: 'redis://127.0.0.1:${redis.port}' }`,
      addresses: 'addresses: { a: { etcd: /fleet }, b: { redis: fleet } }\nallow: [a, b]',
      routes: `  - name: limited
    match: { methods: [GET], path: '/limited/{model_id}' }
    require: { scope: read }
    limits: { requests: 100000/d, concurrent: 1000, bytes: 100GiB/d }
    upstream: sync
`,
    });
    const asHeld = async (when: string): Promise<void> => {
      for (let turn = 0; turn < 5; turn++) {
        t.equal(await ask(stage, IN_ETCD), '200', `the client on the list of etcd passes ${when}`);
        t.equal(await ask(stage, IN_REDIS), '200', `the client on the list of Redis passes ${when}`);
        t.equal(await ask(stage, STRANGER), '403', `the client on no list is refused ${when}`);
      }
    };
    t.ok(
      await until(
        async () => (await ask(stage, IN_ETCD)) === '200' && (await ask(stage, IN_REDIS)) === '200',
      ),
    );

    for (const entry of GARBAGE) t.ok(await inEtcd('put', entry));
    // This happens at once, since a missing key is an empty list and lets nobody in.
    for (const makeGarbage of [
      () => client.sadd('fleet', ...GARBAGE),
      () => client.multi().del('fleet').hset('fleet', 'not', 'a list').exec(),
      () => client.multi().del('fleet').set('fleet', GARBAGE.join('\n')).exec(),
    ]) {
      await makeGarbage();
      t.ok(await until(async () => (await faults(stage)).length >= 2), 'both faults are reported');
      const keys = await client.keys('patchgate:*');
      t.ok(keys.length > 0, 'limits are counted there');
      for (const key of keys) await client.set(key, GARBAGE[1] ?? '');
      await asHeld('with garbage beside it');
    }

    for (const entry of GARBAGE) t.ok(await inEtcd('deleterange', entry));
    await client.multi().del('fleet').sadd('fleet', IN_REDIS, STRANGER).exec();
    t.ok(await until(async () => (await faults(stage)).length === 0), 'no fault is left afterwards');
    t.ok(await until(async () => (await ask(stage, STRANGER)) === '200'), 'changes take effect again');
  },
);
