/** Requests while lists change: each is judged by one complete list, the last good one stays, and no gap lets anyone in. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import t, { type Test } from 'tap';
import { skipWithout, startEtcd, startRedis, until } from '../lists/servers.ts';
import { exchange, HOST, isWhole, rawNode, type Stage, type StageOptions, setStage, sleep } from './stage.ts';

const TRUSTED = '      trustedProxies: [127.0.0.0/8]';

async function stageWith(t: Test, options: Partial<StageOptions>): Promise<Stage> {
  const node = await rawNode(t, (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
  return setStage(t, { nodes: [node.address], listener: TRUSTED, ...options });
}

/** The status of one request of a client. */
async function ask(stage: Stage, client: string): Promise<string> {
  const socket = await stage.connect();
  const head = `GET /open/x HTTP/1.1\r\nHost: ${HOST}\r\nX-Forwarded-For: ${client}\r\n\r\n`;
  const answer = await exchange(socket, head, isWhole);
  socket.destroy();
  return answer.slice(9, 12);
}

async function status(
  stage: Stage,
): Promise<{ readonly faults: readonly string[]; readonly metrics: string }> {
  const policy = (await (await fetch(`${stage.admin}/policy`)).json()) as { readonly faults: string[] };
  return { faults: policy.faults, metrics: await (await fetch(`${stage.admin}/metrics`)).text() };
}

t.test('a list file is followed without a reload, and a bad one changes nothing', async (t) => {
  const { testdirName: folder } = t;
  t.testdir({ 'x.cidr': '203.0.113.0/24\n' });
  const file = join(folder, 'x.cidr');
  const stage = await stageWith(t, {
    addresses: `addresses: { offices: { file: '${file}' } }\nallow: [offices]`,
  });
  t.equal(await ask(stage, '203.0.113.7'), '200');
  t.equal(await ask(stage, '198.51.100.1'), '403');
  await writeFile(file, '198.51.100.0/24\n');
  t.ok(await until(async () => (await ask(stage, '198.51.100.1')) === '200'));
  t.equal(await ask(stage, '203.0.113.7'), '403');
  await writeFile(file, '203.0.113.0/24\nnonsense\n');
  t.ok(await until(async () => (await status(stage)).faults.length > 0));
  const { faults, metrics } = await status(stage);
  t.same(faults, [`${file}:2:1: nonsense is not an address or a prefix`]);
  t.match(metrics, 'patchgate_address_list_current{tenant="tenant-a",list="offices"} 0\n');
  t.match(metrics, 'patchgate_address_prefixes{tenant="tenant-a",list="offices"} 1\n');
  t.equal(await ask(stage, '198.51.100.1'), '200');
});

t.test('a running swap refuses nobody who is on both lists', async (t) => {
  const { testdirName: folder } = t;
  const file = join(folder, 'x.cidr');
  const filler = Array.from({ length: 20_000 }, (_, index) => `10.${index >> 8}.${index & 255}.0/24`);
  const both = ['203.0.113.0/24', ...filler].join('\n');
  t.testdir({ 'x.cidr': both });
  const stage = await stageWith(t, {
    addresses: `addresses: { offices: { file: '${file}' } }\nallow: [offices]`,
  });
  const socket = await stage.connect();
  const head = `GET /open/x HTTP/1.1\r\nHost: ${HOST}\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n`;
  const statuses = new Set<string>();
  for (let round = 0; round < 200; round++) {
    if (round % 20 === 0) await writeFile(file, `${both}\n198.51.100.${round}/32\n`);
    statuses.add((await exchange(socket, head, isWhole)).slice(9, 12));
  }
  socket.destroy();
  t.same([...statuses], ['200']);
});

t.test('a deny list on a server that never answered denies everyone', async (t) => {
  const stage = await stageWith(t, {
    gateway: "  etcd: { endpoints: ['http://127.0.0.1:1'] }",
    addresses: 'addresses: { bad: { etcd: /bad } }\ndeny: [bad]',
  });
  t.equal(await ask(stage, '203.0.113.7'), '403');
  const [line] = await stage.log(1);
  t.match(line, { 'denial.code': 'address-denied', cause: 'list bad was never read (etcd /bad)' });
  t.match((await status(stage)).faults, [
    /^etcd \/bad:1:1: http:\/\/127\.0\.0\.1:1 cannot be read: ECONNREFUSED/,
  ]);
});

t.test('an allow list on a server that never answered allows nobody', async (t) => {
  const stage = await stageWith(t, {
    gateway: '  state: { redis: redis://127.0.0.1:1 }',
    addresses: 'addresses: { fleet: { redis: fleet } }\nallow: [fleet]',
  });
  t.equal(await ask(stage, '203.0.113.7'), '403');
  t.match(await stage.log(1), [{ cause: 'no list contains it; never read: fleet' }]);
});

t.test(
  'requests go on as before while etcd and Redis are killed or paused',
  { skip: skipWithout('etcd', 'etcd-server') || skipWithout('redis-server', 'redis-server') },
  async (t) => {
    const [etcd, redis] = [await startEtcd(t), await startRedis(t)];
    const put = async (key: string, value: string): Promise<boolean> => {
      const body = { key: Buffer.from(key).toString('base64'), value: Buffer.from(value).toString('base64') };
      const url = `http://127.0.0.1:${etcd.port}/v3/kv/put`;
      const response = await fetch(url, { method: 'POST', body: JSON.stringify(body) }).catch(
        () => undefined,
      );
      return response?.ok === true;
    };
    t.ok(await until(() => put('/fleet/203.0.113.0/24', '')));
    const stage = await stageWith(t, {
      gateway: `  etcd: { endpoints: ['http://127.0.0.1:${etcd.port}'] }\n  state: { redis: 'redis://127.0.0.1:${redis.port}' }`,
      addresses: 'addresses: { fleet: { etcd: /fleet }, bad: { redis: bad } }\nallow: [fleet]\ndeny: [bad]',
    });
    t.ok(await until(async () => (await ask(stage, '203.0.113.7')) === '200'));
    t.equal(await ask(stage, '198.51.100.1'), '403');
    const seen = new Map<string, number>();
    let going = true;
    const asking = (async () => {
      while (going) {
        const code = await ask(stage, '203.0.113.7');
        seen.set(code, (seen.get(code) ?? 0) + 1);
        await sleep(10);
      }
    })();
    etcd.pause();
    redis.pause();
    t.ok(await until(async () => (await status(stage)).faults.length === 2), 'both are reported');
    etcd.resume();
    redis.resume();
    t.ok(await until(async () => (await status(stage)).faults.length === 0));
    await etcd.kill();
    await redis.kill();
    t.ok(await until(async () => (await status(stage)).faults.length === 2));
    await etcd.restart();
    await redis.restart();
    t.ok(await until(async () => (await status(stage)).faults.length === 0), 'both are followed again');
    t.ok(await until(() => put('/fleet/198.51.100.0/24', '')));
    t.ok(await until(async () => (await ask(stage, '198.51.100.1')) === '200'));
    going = false;
    await asking;
    const refused = (await stage.log(1)).filter(
      (line) => line['client.address'] === '203.0.113.7' && line['denial.code'],
    );
    t.same(refused, [], 'nobody was refused');
    t.comment(`${seen.get('200')} requests while etcd and Redis were paused, killed and brought back`);
    t.same([...seen.keys()], ['200']);
  },
);

t.test(
  'a certificate revoked in Redis is refused until it is off the list, on open connections too',
  { skip: skipWithout('redis-server', 'redis-server') },
  async (t) => {
    const redis = await startRedis(t);
    const client = new Redis(redis.port, '127.0.0.1');
    t.teardown(() => client.disconnect());
    const stage = await stageWith(t, {
      gateway: `  state: { redis: 'redis://127.0.0.1:${redis.port}' }`,
      addresses: 'revocation: { certificates: { redis: revoked } }',
    });
    t.ok(await until(async () => (await ask(stage, '203.0.113.7')) === '200'));
    const open = await stage.connect();
    const head = `GET /open/x HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`;
    t.match(await exchange(open, head, isWhole), /^HTTP\/1\.1 200 /);
    await client.sadd('revoked', `serial:${stage.worker.serialNumber}`);
    t.ok(await until(async () => (await exchange(open, head, isWhole)).includes('certificate-denied')));
    t.equal(await ask(stage, '203.0.113.7').catch(() => ''), '', 'its handshakes are refused too');
    open.destroy();
    await client.del('revoked');
    t.ok(await until(async () => (await ask(stage, '203.0.113.7').catch(() => '')) === '200'));
  },
);

t.test('a revocation list that was never read revokes all certificates', async (t) => {
  const stage = await stageWith(t, {
    gateway: "  etcd: { endpoints: ['http://127.0.0.1:1'] }",
    addresses: 'revocation: { certificates: { etcd: /revoked } }',
  });
  t.equal(await ask(stage, '203.0.113.7').catch(() => ''), '');
});
