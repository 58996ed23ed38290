/** The whole stack as processes: pushes and pulls cross it, one gateway is killed under load, and Prometheus tells of it. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import t from 'tap';
import { MODEL } from '../../gateway/demo/stack.ts';
import { pullModel } from '../../gateway/push/pull.ts';
import { pushPatch } from '../../gateway/push/push.ts';
import { run } from '../commands/process.ts';
import { filledIn, queries, rules } from '../deploy/expressions.ts';
import { skipWithout, until } from '../lists/servers.ts';
import { keyOf, tenantText } from '../path/etcd-stage.ts';
import { sleep } from '../path/stage.ts';
import { isAlive } from '../workers/workers-stage.ts';
import { type Attempt, ask, beginDownload, keepAsking, workerOf } from './callers.ts';
import { openYard, queried, type Tenant, type Yard } from './yard.ts';

const skip =
  skipWithout('redis-server', 'redis-server') ||
  skipWithout('etcd', 'etcd-server') ||
  skipWithout('prometheus', 'prometheus') ||
  skipWithout('haproxy', 'haproxy', '-v');

/** In the list `fleet` of tenant-a, which lives in etcd. */
const FLEET = ['127.0.0.10', '127.0.0.11', '127.0.0.12', '127.0.0.13'];
const STRANGER = '127.0.0.99';
const DOWNLOADS = 8;
/** `limits.concurrent` of the route `weights`. */
const PLACES = 32;
/** What the stack has none of: revocation lists, keys that are fetched. */
const NOT_HERE = ['Revocation lists: time left', "Fetches of issuers' keys"];

const inBase64 = (text: string): string => Buffer.from(text).toString('base64');

async function put({ etcd }: Yard, key: string, value = ''): Promise<void> {
  const body = JSON.stringify({ key: inBase64(key), value: inBase64(value) });
  await fetch(`http://127.0.0.1:${etcd.port}/v3/kv/put`, { method: 'POST', body });
}

/** The names of the gateways whose access log has a line with these. */
function loggedBy({ gateways }: Yard, wanted: Readonly<Record<string, unknown>>): readonly string[] {
  const matches = (line: Readonly<Record<string, unknown>>): boolean =>
    Object.entries(wanted).every(([key, value]) => line[key] === value);
  return gateways.filter((gateway) => gateway.log().some(matches)).map(({ name }) => name);
}

/** A push whose first question met a gateway that died has not begun, and says so: it begins once more. */
async function begunAnew<T>(push: () => Promise<T>): Promise<T> {
  try {
    return await push();
  } catch (error) {
    if (!String(error).includes('the gateway cannot be reached')) throw error;
    return push();
  }
}

/** Alerts that are firing, by name and instance. */
const firing = async ({ prometheus }: Yard): Promise<readonly string[]> =>
  (await queried(prometheus, 'ALERTS{alertstate="firing"}')).map(({ metric }) =>
    `${metric['alertname']} ${metric['instance'] ?? ''}`.trim(),
  );

t.test('the stack of docker-compose.yml on this machine', { skip, timeout: 120_000 }, async (t) => {
  const yard = await openYard(t);
  const { gateways, folder } = yard;
  const [first, second] = gateways;
  const worker = await workerOf(yard, 'tenant-a');
  const epoch = (number: number): string => join(folder, 'models', `epoch-${number}.safetensors`);
  const large = (number: number): string => join(folder, 'models', `large-${number}.safetensors`);
  const nodeModel = async (tenant: Tenant, out: string): Promise<Buffer> => {
    const outPath = join(folder, out);
    await pullModel({ ...(await workerOf(yard, tenant)), modelId: MODEL, outPath });
    return readFile(outPath);
  };

  await t.test('weights are pushed and pulled through balancer and gateways', async (t) => {
    const base = { ...worker, modelId: MODEL, basePath: large(0), targetPath: large(1) };
    t.match(await pushPatch(base), { status: 201, version: 1 });
    t.ok((await nodeModel('tenant-a', 'pulled.safetensors')).equals(await readFile(large(1))));
    t.ok((await nodeModel('tenant-b', 'other.safetensors')).equals(await readFile(epoch(0))));
  });

  await t.test(
    'the client is who called the balancer, at both gateways, and lists in etcd and Redis hold',
    async (t) => {
      const statusOf = async (address: string): Promise<number> => (await ask(worker, address)).status;
      const everywhere = (address: string, status: number): Promise<boolean> =>
        until(async () => {
          await statusOf(address);
          const wanted = { 'client.address': address, 'http.response.status_code': status };
          return loggedBy(yard, { ...wanted, 'network.peer.address': '127.0.0.1' }).length === 2;
        });
      t.equal(await statusOf(FLEET[0] ?? ''), 403);
      await put(yard, '/patchgate/tenant-a/fleet/127.0.0.8/29');
      t.ok(await everywhere(FLEET[0] ?? '', 200), 'both let it in once etcd has it');
      t.equal(await statusOf(STRANGER), 403);
      const nobody = await ask({ ...worker, certPem: '', keyPem: '' }, STRANGER);
      t.equal(nobody.status, 0, 'without a certificate there is no answer');
      const redis = new Redis(yard.redis.port, '127.0.0.1');
      t.teardown(() => redis.disconnect());
      await redis.sadd('tenant-a:blocked', '127.0.0.15');
      t.ok(await everywhere('127.0.0.15', 403), 'both refuse what Redis blocks');
    },
  );

  await t.test('a tenant that is put into etcd is in force at every worker of both', async (t) => {
    await put(yard, keyOf('tenant-c'), tenantText('tenant-c'));
    const isEverywhere = until(async () => {
      const pages = await Promise.all(gateways.map(({ policy }) => policy()));
      return pages.every(
        ({ generation, tenants, workers }) =>
          tenants.some(({ name }) => name === 'tenant-c') &&
          workers.every((each) => each.generation === generation),
      );
    });
    t.ok(await isEverywhere);
  });

  await t.test('Prometheus scrapes both, and nothing is amiss', async (t) => {
    const up = async (): Promise<boolean> => (await queried(yard.prometheus, 'up == 1')).length === 2;
    t.ok(await until(up));
    t.ok(await until(async () => (await firing(yard)).length === 0), 'no alert is left of the start');
  });

  await t.test('limits are those of both: places taken at one are missing at the other', async (t) => {
    const values = async (expr: string): Promise<readonly number[]> =>
      (await queried(yard.prometheus, expr)).map(({ value }) => Number(value[1]));
    t.ok(await until(async () => (await values('patchgate_limit_store_gateways == 2')).length === 2));
    const held = await Promise.all(
      Array.from({ length: PLACES }, (_, index) => beginDownload(worker, FLEET[index % FLEET.length] ?? '')),
    );
    const taken = 'patchgate_streams_active{route="weights"}';
    t.ok(await until(async () => (await values(`sum(${taken}) == ${PLACES}`)).length === 1));
    t.ok(
      (await values(taken)).every((count) => count < PLACES),
      'neither has all of them',
    );
    const refused = { 'denial.code': 'concurrency-limited', 'http.response.status_code': 429 };
    const refusedByBoth = until(async () => {
      t.equal((await ask(worker, FLEET[0] ?? '')).status, 429);
      return loggedBy(yard, refused).length === 2;
    });
    t.ok(await refusedByBoth);
    held.pop()?.leave();
    t.ok(await until(async () => (await ask(worker, FLEET[0] ?? '')).status === 200), 'one is free again');
    for (const { leave } of held) leave();
  });

  const attempts: Attempt[] = [];
  let stopped = false;
  const load = [...FLEET, ...FLEET].map((address) => keepAsking(worker, address, attempts, () => stopped));
  const pushes = (async () => {
    const other = await workerOf(yard, 'tenant-b');
    const versions: number[] = [];
    for (let round = 0; !stopped; round += 1) {
      const [basePath, targetPath] = [epoch(round % 2), epoch((round + 1) % 2)];
      const push = { ...other, modelId: MODEL, basePath, targetPath };
      versions.push((await begunAnew(() => pushPatch(push))).version);
      await sleep(200);
    }
    return versions;
  })();

  await t.test('one gateway is killed under load: only what it carried is lost', async (t) => {
    const downloads = [];
    for (let index = 0; index < DOWNLOADS; index += 1)
      downloads.push(await beginDownload(worker, FLEET[index % FLEET.length] ?? ''));
    await sleep(1000);
    const workers = await first.workers();
    t.equal(workers.length, 2);
    await first.kill();
    t.ok(await until(() => !workers.some(isAlive)), 'its workers end with it');
    const killedMs = performance.now();
    const wholes = await Promise.all(downloads.map(({ finish }) => finish()));
    t.ok(await until(() => attempts.filter(({ openedMs }) => openedMs > killedMs).length > 300, 30_000));
    const told = downloads.map((each, index) => ({ ...each.told, status: wholes[index] ? 200 : 0 }));
    const all = [...attempts, ...told];
    const lost = all.filter(({ status }) => status !== 200);
    const gatewayOf = ({ address, port }: Attempt): string | undefined => yard.gatewayOf(address, port);
    t.ok(await until(() => [...lost, ...told].every((each) => gatewayOf(each) !== undefined)));
    t.same([...new Set(lost.map(gatewayOf))], [first.name], 'all that failed was carried by the dead one');
    t.ok(
      lost.every(({ openedMs }) => openedMs < killedMs),
      'a connection opened afterwards never fails',
    );
    t.equal(
      new Set(lost.map(({ address, port }) => `${address}:${port}`)).size,
      lost.length,
      'one a connection',
    );
    const outcomes = told.map((each) => `${gatewayOf(each)} ${each.status}`);
    t.same(
      [...new Set(outcomes)].toSorted(),
      [`${first.name} 0`, `${second.name} 200`],
      'downloads of the dead one are cut, those of the other are whole',
    );
    const small = lost.length - told.filter(({ status }) => status === 0).length;
    t.comment(
      `${all.length} requests, ${lost.length} lost: ${small} small ones and ${lost.length - small} downloads`,
    );
  });

  await t.test('Prometheus sees it down, and the alert fires', async (t) => {
    t.ok(
      await until(async () => (await firing(yard)).includes(`GatewayDown 127.0.0.1:${first.admin}`), 20_000),
    );
    t.same(await firing(yard), [`GatewayDown 127.0.0.1:${first.admin}`], 'and no other');
  });

  await t.test('once it is back it takes its share, and the alert is over', async (t) => {
    const before = first.log().length;
    await first.restart();
    t.ok(await until(() => first.log().length > before + 20), 'requests come to it again');
    t.ok(await until(async () => (await firing(yard)).length === 0));
  });

  await t.test('a worker is killed alone: another takes its place, and Prometheus tells', async (t) => {
    const before = attempts.length;
    const [killed = 0, other = 0] = await second.workers();
    process.kill(killed, 'SIGKILL');
    t.ok(await until(() => !isAlive(killed)));
    const killedMs = performance.now();
    const isReplaced = async (): Promise<boolean> => {
      const now = await second.workers();
      return now.length === 2 && now.includes(other) && !now.includes(killed);
    };
    t.ok(await until(isReplaced));
    t.ok(await until(() => attempts.filter(({ openedMs }) => openedMs > killedMs).length > 300, 30_000));
    const lost = attempts.slice(before).filter(({ status }) => status !== 200);
    t.ok(
      lost.every(({ openedMs }) => openedMs < killedMs),
      'a connection opened afterwards never fails',
    );
    const carriedBy = ({ address, port }: Attempt): string | undefined => yard.gatewayOf(address, port);
    t.ok(
      await until(() => lost.every((each) => carriedBy(each) === second.name)),
      'none of the other gateway',
    );
    const instance = `127.0.0.1:${second.admin}`;
    const restarts = `patchgate_worker_restarts_total{instance="${instance}"} == 1`;
    t.ok(await until(async () => (await queried(yard.prometheus, restarts)).length === 1));
    t.ok(await until(async () => (await firing(yard)).includes(`WorkerReplaced ${instance}`)));
    t.comment(`${attempts.length - before} requests, ${lost.length} lost`);
  });

  stopped = true;
  await Promise.all(load);

  await t.test('no push failed: what was cut went on through the other gateway', async (t) => {
    const versions = await pushes;
    t.same(
      versions,
      versions.map((_, index) => index + 1),
    );
    const last = await readFile(epoch(versions.length % 2));
    t.ok(
      (await nodeModel('tenant-b', 'last.safetensors')).equals(last),
      'and the weights are the last ones pushed',
    );
    t.comment(`${versions.length} pushes`);
  });

  await t.test('every push is in the audit log of a gateway, and their chains hold', async (t) => {
    let admitted = 0;
    for (const { auditFile } of gateways) {
      const { status, out } = await run(t, 'audit', 'verify', auditFile);
      t.equal(status, 0, out);
      admitted += (await readFile(auditFile, 'utf8')).split('"event":"admitted"').length - 1;
    }
    t.ok(admitted > (await pushes).length, `${admitted} were admitted`);
  });

  await t.test('every query of the dashboard and every rule is one Prometheus can answer', async (t) => {
    const empty = async (): Promise<readonly string[]> => {
      const panels: string[] = [];
      for (const { panel, expr } of queries)
        if ((await queried(yard.prometheus, filledIn(expr, '20s'))).length === 0) panels.push(panel);
      return panels;
    };
    await ask({ ...worker, certPem: '', keyPem: '' }, STRANGER);
    await until(async () => (await empty()).length === NOT_HERE.length, 2000);
    t.same(await empty(), NOT_HERE);
    for (const { expr } of rules) await queried(yard.prometheus, expr);
  });
});
