/** A drain ends a gateway gently, and a reload never ends a stream. */

import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { MIB } from '../../gateway/core/units.ts';
import { until } from '../lists/servers.ts';
import { exchange, HOST, isWhole, rawNode, type Stage, setStage, sleep } from './stage.ts';

interface Yard extends Stage {
  readonly nodes: readonly Socket[];
  readonly received: readonly string[];
}

/** A node that answers a GET with the beginning of a body, and anything else once the body ends in `end`. */
async function setYard(t: Test, drain: string): Promise<Yard> {
  const nodes: Socket[] = [];
  const node = await rawNode(t, (socket, text) => {
    if (!nodes.includes(socket)) {
      nodes.push(socket);
      if (text.startsWith('GET')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegun');
    }
    if (text.endsWith('end')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  });
  const stage = await setStage(t, {
    nodes: [node.address],
    gateway: `  timeouts: { drain: ${drain}, linger: 200ms }`,
  });
  return { ...stage, nodes, received: node.received };
}

const put = `PUT /open/x HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 9\r\n\r\nbegin `;

t.test(
  'during a drain streams go on to their end, and each connection closes after its answer',
  async (t) => {
    const yard = await setYard(t, '10s');
    const [busy, idle] = [await yard.connect(), await yard.connect()];
    const answer = exchange(busy, put);
    t.ok(await until(async () => yard.nodes.length === 1));
    const drained = yard.gateway.drain();
    await once(idle, 'end');
    t.equal((await fetch(`${yard.admin}/readyz`)).status, 503);
    t.equal((await fetch(`${yard.admin}/livez`)).status, 200);
    await t.rejects(yard.connect(), { code: 'ECONNREFUSED' });
    busy.write('end');
    t.match(await answer, /^HTTP\/1\.1 200 OK\r\n(?:.+\r\n)*Connection: close\r\n(?:.+\r\n)*\r\nok$/);
    await drained;
  },
);

t.test('streams that outlast the drain time are cut, and the log says by whom', async (t) => {
  const yard = await setYard(t, '300ms');
  const [upload, download] = [await yard.connect(), await yard.connect()];
  const refused = exchange(upload, put);
  const broken = exchange(download, `GET /open/x HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
  t.ok(await until(async () => yard.nodes.length === 2 && download.bytesRead > 0));
  await yard.gateway.drain();
  t.match(await refused, /^HTTP\/1\.1 503 .*"code":"draining"/s);
  t.match(await broken, /^HTTP\/1\.1 200 .*begun$/s);
  t.ok(await until(async () => yard.nodes.every(({ destroyed }) => destroyed)));
  t.notOk(
    yard.nodes.some(({ readableEnded }) => readableEnded),
    'the nodes see a reset',
  );
  for (const line of await yard.log(2)) t.match(line, { 'denial.code': 'draining', ended_by: 'gateway' });
});

t.test('a second signal does not wait', async (t) => {
  const yard = await setYard(t, '1h');
  const socket = await yard.connect();
  const answer = exchange(socket, put);
  t.ok(await until(async () => yard.nodes.length === 1));
  const drained = yard.gateway.drain();
  await sleep(50);
  yard.gateway.stopNow();
  await drained;
  t.equal(await answer, '');
});

/** Chosen so that each reload falls into the stream. */
const RELOADS = 20;
const PAUSE_MS = 150;

t.test('a stream that runs across twenty reloads arrives completely in both directions', async (t) => {
  const body = randomBytes(4 * MIB);
  const node = await rawNode(t, (socket, text) => {
    const at = text.indexOf('\r\n\r\n') + 4;
    if (at < 4 || text.length < at + body.length) return;
    const got = createHash('sha256')
      .update(Buffer.from(text.slice(at), 'latin1'))
      .digest('hex');
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${got.length}\r\n\r\n${got}`);
  });
  const stage = await setStage(t, { nodes: [node.address] });
  const file = join(stage.folder, 'policies', 'tenants', 'tenant-a.yaml');
  const text = await readFile(file, 'utf8');
  const socket = await stage.connect();
  const answer = exchange(
    socket,
    `PUT /open/x HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: ${body.length}\r\n\r\n`,
    (each) => each !== '' && isWhole(each),
  );
  const piece = Math.ceil(body.length / RELOADS);
  for (let turn = 0; turn < RELOADS; turn++) {
    socket.write(body.subarray(turn * piece, (turn + 1) * piece));
    await writeFile(file, `# ${turn}\n${text}`);
    t.match(await stage.gateway.reload(), { successful: true, policy: { generation: turn + 2 } });
    await sleep(PAUSE_MS);
  }
  const expected = createHash('sha256').update(body).digest('hex');
  t.ok((await answer).endsWith(`\r\n\r\n${expected}`));
  t.match(await stage.log(1), [{ 'policy.generation': 1, bytes_in: body.length, ended_by: 'upstream' }]);
  socket.destroy();
});
