/** Two workers act as one gateway in what they count, allow, log and are told. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { exchange, isWhole, rawNode, secure, sleep } from '../path/stage.ts';
import { allAccept, eventually, setWorkers, type WorkersStage } from './workers-stage.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const MANY = 24;
const range = (count: number): readonly number[] => Array.from({ length: count }, (_, at) => at);

/** A node that answers a GET after its head, and any other request once it ends in `the end`. */
const nodeOf = (t: Test) =>
  rawNode(t, (socket, text) => {
    if (text.endsWith('\r\n\r\n') && text.includes('GET ')) socket.write(OK);
    if (text.endsWith('the end')) socket.write(OK);
  });

async function ask(socket: TLSSocket, request: string): Promise<string> {
  return (await exchange(socket, request, (text) => text.includes('\r\n\r\n') && isWhole(text))).slice(9, 12);
}

/** Sends a `GET` on each of that many separate connections. */
async function askAll(stage: WorkersStage, count: number, path: string): Promise<readonly string[]> {
  return Promise.all(range(count).map(() => stage.status(path)));
}

t.test('a scrape adds up what all workers counted', async (t) => {
  const stage = await setWorkers(t, { node: (await nodeOf(t)).address });
  const sockets = await Promise.all(range(MANY).map(() => stage.connect()));
  for (const socket of sockets) await ask(socket, 'GET /open/x HTTP/1.1\r\nHost: a.test\r\n\r\n');
  t.equal(await stage.metric('patchgate_requests_total'), MANY);
  t.equal(await stage.metric('patchgate_request_duration_seconds_count{route="open"}'), MANY);
  t.equal(await stage.metric('patchgate_request_duration_seconds_bucket{le="+Inf",route="open"}'), MANY);
  t.equal(await stage.metric('patchgate_open_connections'), MANY);
  t.equal(await stage.metric('patchgate_build_info'), 1);
  t.equal(await stage.metric('patchgate_policy_generation'), 1);
  t.equal(await stage.metric('patchgate_node_up'), 1);
  const [first] = await stage.workers();
  process.kill(first?.pid ?? 0, 'SIGKILL');
  await eventually(async () => (await stage.metric('patchgate_worker_restarts_total')) === 1);
  const left = await stage.metric('patchgate_open_connections');
  t.ok(left > 0 && left < MANY, 'connections of the dead worker do not count any more');
  t.equal(await stage.metric('patchgate_requests_total'), MANY, 'requests of the dead worker still count');
});

const LIMITED = `  - name: limited
    match: { methods: [GET, PUT], path: '/limited/**' }
    require: none
    limits: LIMITS
    upstream: sync
`;

t.test('the places of a route are shared by all workers, and a dead worker frees its own', async (t) => {
  const node = await nodeOf(t);
  const routes = LIMITED.replace('LIMITS', '{ concurrent: 6, per: tenant }');
  const stage = await setWorkers(t, { node: node.address, routes });
  const sockets = await Promise.all(range(MANY).map(() => stage.connect()));
  const answers = sockets.map((socket) =>
    exchange(
      socket,
      'PUT /limited/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 12\r\n\r\nhalf ',
      (text) => text !== '',
    ),
  );
  await eventually(async () => node.received.filter((text) => text.endsWith('half ')).length === 6);
  await eventually(
    async () =>
      (await stage.metric('patchgate_limit_decisions_total{limit="concurrent",outcome="refused"')) ===
      MANY - 6,
  );
  const active = await stage.metric('patchgate_streams_active{route="limited"}');
  t.equal(active, 6);
  for (const { pid } of await stage.workers()) process.kill(pid, 'SIGKILL');
  await eventually(async () => (await stage.metric('patchgate_worker_restarts_total')) === 2);
  await allAccept(stage);
  t.same(new Set(await askAll(stage, 6, '/limited/x')), new Set(['200']), 'all six places are free again');
  await Promise.all(answers);
});

t.test('the rate of a route is shared by all workers', async (t) => {
  const routes = LIMITED.replace('LIMITS', '{ requests: 5/h, per: tenant }');
  const stage = await setWorkers(t, { node: (await nodeOf(t)).address, routes });
  const statuses = await askAll(stage, MANY, '/limited/x');
  t.equal(statuses.filter((status) => status === '200').length, 5);
  t.equal(statuses.filter((status) => status === '429').length, MANY - 5);
});

t.test('undeclared bytes count for the whole gateway while they flow', async (t) => {
  const node = await rawNode(t, () => undefined);
  const routes = LIMITED.replace('LIMITS', '{ bytes: 1MiB/h, per: tenant }');
  const stage = await setWorkers(t, { node: node.address, routes });
  const sockets = await Promise.all(range(8).map(() => stage.connect()));
  const answers = sockets.map((socket) =>
    exchange(socket, 'PUT /limited/x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n'),
  );
  const piece = `4000\r\n${'x'.repeat(0x4000)}\r\n`;
  let isOver = false;
  const sending = (async () => {
    while (!isOver) {
      for (const socket of sockets) if (!socket.destroyed) socket.write(piece);
      await sleep(20);
    }
  })();
  for (const answer of await Promise.all(answers))
    t.match(answer, /^HTTP\/1\.1 429 .*"code":"bytes-exhausted"/s);
  isOver = true;
  await sending;
});

t.test('a reload reaches all workers before it is answered', async (t) => {
  const stage = await setWorkers(t, { node: (await nodeOf(t)).address });
  t.same(new Set(await askAll(stage, MANY, '/open/x')), new Set(['200']));
  const file = join(stage.config, 'tenants', 'tenant-a.yaml');
  await writeFile(file, (await readFile(file, 'utf8')).replace("'/open/**'", "'/shut/**'"));
  t.match(JSON.parse(await stage.admin('/reload', 'POST')), {
    successful: true,
    generation: 2,
    workers: [{ generation: 2 }, { generation: 2 }],
  });
  t.same(new Set(await askAll(stage, MANY, '/open/x')), new Set(['404']));
});

t.test('a drained node is drained for all workers, including later ones', async (t) => {
  const node = await nodeOf(t);
  const stage = await setWorkers(t, { node: node.address });
  const named = `upstream=tenant-a/sync&node=http://${node.address}`;
  t.match(
    await stage.admin(`/nodes/drain?upstream=tenant-a/sync&node=http://nowhere:1`, 'POST'),
    /no such node/,
  );
  t.match(await stage.admin(`/nodes/drain?${named}`, 'POST'), /"drained":true/);
  t.match(JSON.parse(await stage.admin('/nodes')), [{ nodes: [{ state: 'drained', drained: true }] }]);
  t.same(new Set(await askAll(stage, MANY, '/open/x')), new Set(['503']));
  for (const { pid } of await stage.workers()) process.kill(pid, 'SIGKILL');
  await eventually(async () => (await stage.metric('patchgate_worker_restarts_total')) === 2);
  await allAccept(stage);
  t.same(new Set(await askAll(stage, MANY, '/open/x')), new Set(['503']));
  await stage.admin(`/nodes/resume?${named}`, 'POST');
  t.same(new Set(await askAll(stage, MANY, '/open/x')), new Set(['200']));
});

t.test('lines of the access log are whole, in a file and on a pipe', async (t) => {
  const long = `/open/${'x'.repeat(6000)}`;
  for (const accessLog of ['-', '../access.log']) {
    const gateway = `  workers: 2\n  limits: { headBytes: 64KiB }\n  accessLog: { file: '${accessLog}' }`;
    const stage = await setWorkers(t, { node: (await nodeOf(t)).address, gateway });
    const sockets = await Promise.all(range(MANY).map(() => stage.connect()));
    await Promise.all(
      sockets.map(async (socket) => {
        for (let left = 20; left > 0; left -= 1)
          await ask(socket, `GET ${long} HTTP/1.1\r\nHost: a.test\r\n\r\n`);
        socket.destroy();
      }),
    );
    stage.running.child.kill('SIGTERM');
    t.equal(await stage.running.ended, 0);
    const text =
      accessLog === '-' ? stage.running.output.out : await readFile(join(stage.folder, 'access.log'), 'utf8');
    const lines = text.trimEnd().split('\n');
    t.equal(lines.length, MANY * 20);
    t.ok(lines.every((line) => long.startsWith(JSON.parse(line)['url.path'].slice(0, 100))));
  }
});

t.test('a TLS session begun at one worker resumes at any', async (t) => {
  const stage = await setWorkers(t, { node: (await nodeOf(t)).address });
  const first = await stage.connect();
  const session = new Promise<Buffer>((resolve) => first.once('session', resolve));
  await ask(first, 'GET /open/x HTTP/1.1\r\nHost: a.test\r\n\r\n');
  const known = await session;
  first.destroy();
  const { caller, edge } = stage;
  for (let turn = 0; turn < MANY; turn += 1) {
    const socket = await secure({ host: '127.0.0.1', port: edge, ...caller, session: known });
    t.ok(socket.isSessionReused());
    socket.destroy();
  }
});
