/** What workers get only from their primary: the policy, certificates, tickets, and the file of the audit log. */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import t from 'tap';
import { verifyFiles } from '../../gateway/audit/verify.ts';
import { exchange, isWhole, rawNode } from '../path/stage.ts';
import { allAccept, eventually, setWorkers } from './workers-stage.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const PUBLISH = `  - name: publish
    match: { methods: [POST], path: '/v1/models/{model_id}/versions/{version}' }
    require: { scope: publish }
    upstream: sync
`;
const OPEN = `  - name: open
    match: { methods: [GET], path: '/open/**' }
    require: none
    upstream: sync
`;

t.test('a worker replaced while the folder is unreadable gets the policy in force', async (t) => {
  const node = await rawNode(t, (socket) => socket.write(OK));
  const stage = await setWorkers(t, { node: node.address });
  const file = join(stage.config, 'tenants', 'tenant-a.yaml');
  await writeFile(file, `${await readFile(file, 'utf8')}# another\n`);
  await stage.admin('/reload', 'POST');
  t.same(
    (await stage.workers()).map(({ generation }) => generation),
    [2, 2],
  );
  await rename(stage.config, `${stage.config}.away`);
  for (const { pid } of await stage.workers()) process.kill(pid, 'SIGKILL');
  await eventually(async () => (await stage.metric('patchgate_worker_restarts_total')) === 2);
  await allAccept(stage);
  t.same(
    (await stage.workers()).map(({ generation }) => generation),
    [2, 2],
  );
  for (let turn = 0; turn < 8; turn++) t.equal(await stage.status(), '200');
});

t.test('a TLS session begun at one worker is resumed at any other', async (t) => {
  const node = await rawNode(t, (socket) => socket.write(OK));
  const stage = await setWorkers(t, { node: node.address });
  const first = await stage.connect();
  const session = new Promise<Buffer>((resolve) => first.once('session', resolve));
  await exchange(first, 'GET /open/x HTTP/1.1\r\nHost: a.test\r\n\r\n', isWhole);
  const ticket = await session;
  const others: TLSSocket[] = [];
  for (let turn = 0; turn < 16; turn++) others.push(await stage.connect({ session: ticket }));
  t.same(new Set(others.map((socket) => socket.isSessionReused())), new Set([true]));
  for (const socket of [first, ...others]) socket.destroy();
});

t.test(
  'lines of all workers form one chain in one file, and none that was answered is missing',
  async (t) => {
    const node = await rawNode(t, (socket) => socket.write(OK));
    const gateway = '  workers: 2\n  audit: { file: ../audit.jsonl }';
    const stage = await setWorkers(t, { node: node.address, gateway, routes: `${OPEN}${PUBLISH}` });
    const token = await stage.tokens.sign({
      iss: 'https://auth.test',
      aud: 'weights',
      sub: 'w',
      scope: 'publish',
    });
    const answered: string[] = [];
    const callers = Array.from({ length: 12 }, async (_, caller) => {
      const socket = await stage.connect();
      for (let turn = 0; turn < 10; turn++) {
        const id = `r-${caller}-${turn}`;
        const head = `POST /v1/models/vision/versions/7 HTTP/1.1\r\nHost: a.test\r\nAuthorization: Bearer ${token}\r\n`;
        const request = `${head}X-Request-Id: ${id}\r\nContent-Length: 0\r\n\r\n`;
        t.match(await exchange(socket, request, isWhole), /^HTTP\/1\.1 200 /);
        answered.push(id);
      }
      socket.destroy();
    });
    await Promise.all(callers);
    stage.running.child.kill('SIGTERM');
    t.equal(await stage.running.ended, 0);
    const file = join(stage.folder, 'audit.jsonl');
    const lines = (await readFile(file, 'utf8')).trim().split('\n');
    const events = lines.map((line) => JSON.parse(line));
    t.same((await verifyFiles([file])).faults, []);
    t.equal(events.at(-1).event, 'stopped');
    for (const event of ['admitted', 'ended']) {
      const told = new Set(events.filter((each) => each.event === event).map((each) => each['request.id']));
      t.same(
        answered.filter((id) => !told.has(id)),
        [],
        `every answered request has its ${event} line`,
      );
    }
  },
);
