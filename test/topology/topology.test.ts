/** The whole stack as processes: pushes and pulls cross it, parts are killed under load, and Prometheus notices. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import t, { type Test } from 'tap';
import { MODEL } from '../../gateway/demo/stack.ts';
import { pullModel } from '../../gateway/push/pull.ts';
import { pushPatch } from '../../gateway/push/push.ts';
import { run } from '../commands/process.ts';
import { filledIn, queries, rules } from '../deploy/expressions.ts';
import { skipWithout, until } from '../lists/servers.ts';
import { keyOf, tenantText } from '../path/etcd-stage.ts';
import { sleep } from '../path/stage.ts';
import { isAlive } from '../workers/workers-stage.ts';
import { type Attempt, ask, beginDownload, workerOf } from './callers.ts';
import { beginLoad, FLEET, fleetCaller, type Load, modelPath, openScene, type Scene } from './scene.ts';
import { queried, type Tenant, type Yard } from './yard.ts';

const skip =
  skipWithout('redis-server', 'redis-server') ||
  skipWithout('etcd', 'etcd-server') ||
  skipWithout('prometheus', 'prometheus') ||
  skipWithout('haproxy', 'haproxy', '-v');

const STRANGER = '127.0.0.99';
const DOWNLOADS = 8;
/** `limits.concurrent` of the route `weights`. */
const PLACES = 32;
/** Panels without data, since the stack has neither revocation lists nor fetched keys. */
const NOT_HERE = ['Revocation lists: time left', 'JWKS fetches'];

const inBase64 = (text: string): string => Buffer.from(text).toString('base64');

async function put({ etcd }: Yard, key: string, value = ''): Promise<void> {
  const body = JSON.stringify({ key: inBase64(key), value: inBase64(value) });
  await fetch(`http://127.0.0.1:${etcd.port}/v3/kv/put`, { method: 'POST', body });
}

/** The names of the gateways whose access log has a line with these values. */
function loggedBy({ gateways }: Yard, wanted: Readonly<Record<string, unknown>>): readonly string[] {
  const matches = (line: Readonly<Record<string, unknown>>): boolean =>
    Object.entries(wanted).every(([key, value]) => line[key] === value);
  return gateways.filter((gateway) => gateway.log().some(matches)).map(({ name }) => name);
}

/** Alerts that are firing, by name and instance. */
const firing = async ({ prometheus }: Yard): Promise<readonly string[]> =>
  (await queried(prometheus, 'ALERTS{alertstate="firing"}')).map(({ metric }) =>
    `${metric['alertname']} ${metric['instance'] ?? ''}`.trim(),
  );

/** The model of a tenant's node, pulled through balancer and gateways. */
async function pulledModel(yard: Yard, tenant: Tenant, name: string): Promise<Buffer> {
  const outPath = join(yard.folder, name);
  await pullModel({ ...(await workerOf(yard, tenant)), modelId: MODEL, outPath });
  return readFile(outPath);
}

async function pushAndPull(t: Test, { yard, worker }: Scene): Promise<void> {
  const [basePath, targetPath] = [modelPath(yard, 'large', 0), modelPath(yard, 'large', 1)];
  t.match(await pushPatch({ ...worker, modelId: MODEL, basePath, targetPath }), { status: 201, version: 1 });
  t.ok((await pulledModel(yard, 'tenant-a', 'pulled.safetensors')).equals(await readFile(targetPath)));
  const untouched = await readFile(modelPath(yard, 'epoch', 0));
  t.ok((await pulledModel(yard, 'tenant-b', 'other.safetensors')).equals(untouched));
}

async function judgeClients(t: Test, { yard, worker }: Scene): Promise<void> {
  const statusOf = async (address: string): Promise<number> => (await ask(worker, address)).status;
  const everywhere = (address: string, status: number): Promise<boolean> =>
    until(async () => {
      await statusOf(address);
      const wanted = { 'client.address': address, 'http.response.status_code': status };
      return loggedBy(yard, { ...wanted, 'network.peer.address': '127.0.0.1' }).length === 2;
    });
  t.equal(await statusOf(FLEET[0]), 403);
  await put(yard, '/patchgate/tenant-a/fleet/127.0.0.8/29');
  t.ok(await everywhere(FLEET[0], 200), 'both gateways admit the client once etcd lists it');
  t.equal(await statusOf(STRANGER), 403);
  const nobody = await ask({ ...worker, certPem: '', keyPem: '' }, STRANGER);
  t.equal(nobody.status, 0, 'without a certificate there is no answer');
  const redis = new Redis(yard.redis.port, '127.0.0.1');
  t.teardown(() => redis.disconnect());
  await redis.sadd('tenant-a:blocked', '127.0.0.15');
  t.ok(await everywhere('127.0.0.15', 403), 'both gateways refuse the client that Redis blocks');
}

async function addTenant(t: Test, { yard }: Scene): Promise<void> {
  await put(yard, keyOf('tenant-c'), tenantText('tenant-c'));
  const isEverywhere = until(async () => {
    const pages = await Promise.all(yard.gateways.map(({ policy }) => policy()));
    return pages.every(
      ({ generation, tenants, workers }) =>
        tenants.some(({ name }) => name === 'tenant-c') &&
        workers.every((each) => each.generation === generation),
    );
  });
  t.ok(await isEverywhere);
}

async function scrapeBoth(t: Test, { yard }: Scene): Promise<void> {
  t.ok(await until(async () => (await queried(yard.prometheus, 'up == 1')).length === 2));
  t.ok(await until(async () => (await firing(yard)).length === 0), 'no alert is left of the start');
}

async function shareLimits(t: Test, { yard, worker }: Scene): Promise<void> {
  const values = async (expr: string): Promise<readonly number[]> =>
    (await queried(yard.prometheus, expr)).map(({ value }) => Number(value[1]));
  t.ok(await until(async () => (await values('patchgate_limit_store_gateways == 2')).length === 2));
  const held = await Promise.all(
    Array.from({ length: PLACES }, (_, index) => beginDownload(worker, fleetCaller(index))),
  );
  const taken = 'patchgate_streams_active{route="weights"}';
  t.ok(await until(async () => (await values(`sum(${taken}) == ${PLACES}`)).length === 1));
  t.ok(
    (await values(taken)).every((count) => count < PLACES),
    'neither gateway has given out all places',
  );
  const refused = { 'denial.code': 'concurrency-limited', 'http.response.status_code': 429 };
  const refusedByBoth = until(async () => {
    t.equal((await ask(worker, FLEET[0])).status, 429);
    return loggedBy(yard, refused).length === 2;
  });
  t.ok(await refusedByBoth);
  held.pop()?.leave();
  t.ok(await until(async () => (await ask(worker, FLEET[0])).status === 200), 'one place is free again');
  for (const { leave } of held) leave();
}

/** Waits for more than 300 requests on connections opened after that moment. */
const answeredSince = (attempts: readonly Attempt[], sinceMs: number): Promise<boolean> =>
  until(() => attempts.filter(({ openedMs }) => openedMs > sinceMs).length > 300, 30_000);

async function killGateway(t: Test, { yard, worker }: Scene, { attempts }: Load): Promise<void> {
  const [first, second] = yard.gateways;
  const downloads = [];
  for (let index = 0; index < DOWNLOADS; index += 1)
    downloads.push(await beginDownload(worker, fleetCaller(index)));
  await sleep(1000);
  const workers = await first.workers();
  t.equal(workers.length, 2);
  await first.kill();
  t.ok(await until(() => !workers.some(isAlive)), 'the workers end with their gateway');
  const killedMs = performance.now();
  const wholes = await Promise.all(downloads.map(({ finish }) => finish()));
  t.ok(await answeredSince(attempts, killedMs));
  const told = downloads.map((each, index) => ({ ...each.told, status: wholes[index] ? 200 : 0 }));
  const all = [...attempts, ...told];
  const lost = all.filter(({ status }) => status !== 200);
  const gatewayOf = ({ address, port }: Attempt): string | undefined => yard.gatewayOf(address, port);
  t.ok(await until(() => [...lost, ...told].every((each) => gatewayOf(each) !== undefined)));
  t.same([...new Set(lost.map(gatewayOf))], [first.name], 'all that failed was carried by the dead gateway');
  t.ok(
    lost.every(({ openedMs }) => openedMs < killedMs),
    'a connection opened afterwards never fails',
  );
  const connections = new Set(lost.map(({ address, port }) => `${address}:${port}`));
  t.equal(connections.size, lost.length, 'each connection lost at most one request');
  t.same(
    [...new Set(told.map((each) => `${gatewayOf(each)} ${each.status}`))].toSorted(),
    [`${first.name} 0`, `${second.name} 200`],
    'downloads of the dead gateway are cut, and those of the other are whole',
  );
  const cut = told.filter(({ status }) => status === 0).length;
  t.comment(
    `${all.length} requests, ${lost.length} lost: ${lost.length - cut} small ones and ${cut} downloads`,
  );
}

async function alertOfGateway(t: Test, { yard }: Scene): Promise<void> {
  const alert = `GatewayDown 127.0.0.1:${yard.gateways[0].admin}`;
  t.ok(await until(async () => (await firing(yard)).includes(alert), 20_000));
  t.same(await firing(yard), [alert], 'no other alert fires');
}

async function restartGateway(t: Test, { yard }: Scene): Promise<void> {
  const [first] = yard.gateways;
  const before = first.log().length;
  await first.restart();
  t.ok(await until(() => first.log().length > before + 20), 'requests reach it again');
  t.ok(await until(async () => (await firing(yard)).length === 0));
}

async function killWorker(t: Test, { yard }: Scene, { attempts }: Load): Promise<void> {
  const [, second] = yard.gateways;
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
  t.ok(await answeredSince(attempts, killedMs));
  const lost = attempts.slice(before).filter(({ status }) => status !== 200);
  t.ok(
    lost.every(({ openedMs }) => openedMs < killedMs),
    'a connection opened afterwards never fails',
  );
  t.ok(
    await until(() => lost.every(({ address, port }) => yard.gatewayOf(address, port) === second.name)),
    'the other gateway loses nothing',
  );
  const instance = `127.0.0.1:${second.admin}`;
  const restarts = `patchgate_worker_restarts_total{instance="${instance}"} == 1`;
  t.ok(await until(async () => (await queried(yard.prometheus, restarts)).length === 1));
  t.ok(await until(async () => (await firing(yard)).includes(`WorkerReplaced ${instance}`)));
  t.comment(`${attempts.length - before} requests, ${lost.length} lost`);
}

async function checkPushes(t: Test, { yard }: Scene, { pushes }: Load): Promise<void> {
  const versions = await pushes;
  t.same(
    versions,
    versions.map((_, index) => index + 1),
  );
  const last = await readFile(modelPath(yard, 'epoch', versions.length % 2));
  const held = await pulledModel(yard, 'tenant-b', 'last.safetensors');
  t.ok(held.equals(last), 'the weights are those of the last push');
  t.comment(`${versions.length} pushes`);
}

async function checkAuditLogs(t: Test, { yard }: Scene, { pushes }: Load): Promise<void> {
  let admitted = 0;
  for (const { auditFile } of yard.gateways) {
    const { status, out } = await run(t, 'audit', 'verify', auditFile);
    t.equal(status, 0, out);
    admitted += (await readFile(auditFile, 'utf8')).split('"event":"admitted"').length - 1;
  }
  t.ok(admitted > (await pushes).length, `the logs hold enough admissions: ${admitted}`);
}

async function checkExpressions(t: Test, { yard, worker }: Scene): Promise<void> {
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
}

t.test('the stack of docker-compose.yml runs as processes', { skip, timeout: 120_000 }, async (t) => {
  const scene = await openScene(t);
  const phase = (title: string, play: (t: Test, scene: Scene) => Promise<void>) =>
    t.test(title, (t) => play(t, scene));
  await phase('weights are pushed and pulled through balancer and gateways', pushAndPull);
  await phase(
    'the client is who called the balancer, at both gateways, and lists are enforced',
    judgeClients,
  );
  await phase('a tenant that is put into etcd is in force at every worker of both gateways', addTenant);
  await phase('Prometheus scrapes both gateways, and no alert fires', scrapeBoth);
  await phase('places taken at one gateway are missing at the other', shareLimits);
  const load = beginLoad(scene);
  const loaded = (title: string, play: (t: Test, scene: Scene, load: Load) => Promise<void>) =>
    t.test(title, (t) => play(t, scene, load));
  await loaded('a gateway that is killed under load loses only what it carried', killGateway);
  await phase('Prometheus sees that the gateway is down, and the alert fires', alertOfGateway);
  await phase('a restarted gateway takes its share again, and the alert ends', restartGateway);
  await loaded('a worker that is killed alone is replaced, and Prometheus notices', killWorker);
  await load.stop();
  await loaded('no push fails, as cut uploads go on through the other gateway', checkPushes);
  await loaded('every push is in the audit log of a gateway, and the chains hold', checkAuditLogs);
  await phase('Prometheus can answer every query of the dashboard and every rule', checkExpressions);
});
