/** The gateway as a whole: what a reload changes and what it leaves alone. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { startGateway } from '../gateway/gateway.ts';
import { createLog } from '../gateway/observe/log.ts';
import { exchange, HOST, isWhole, rawNode, setStage, sleep } from './path/stage.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const GET = `GET /open/x HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`;

t.test(
  'a reload cuts no stream it still admits, and the next request is decided by the new policy',
  async (t) => {
    const node = await rawNode(t, (socket, text) => {
      if (text.endsWith('end')) socket.write(OK);
    });
    const stage = await setStage(t, { nodes: [node.address] });
    const socket = await stage.connect();
    let answer = '';
    socket.on('data', (piece: Buffer) => {
      answer += piece.toString();
    });
    socket.write(`PUT /open/x HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 9\r\n\r\nbegin `);
    while (!node.received[0]?.endsWith('begin ')) await sleep(5);
    const file = join(stage.folder, 'policies', 'tenants', 'tenant-a.yaml');
    const text = await readFile(file, 'utf8');
    // The node of the stream is gone, and its route now takes only requests like it.
    await writeFile(
      file,
      text.replace('[GET, HEAD, PUT, POST, DELETE]', '[PUT]').replace(node.address, '127.0.0.1:1'),
    );
    t.match(await stage.gateway.reload(), { successful: true, policy: { generation: 2 } });
    // This is long enough for running streams to be decided again.
    await sleep(100);
    socket.write('end');
    while (!isWhole(answer) || answer === '') await sleep(5);
    t.match(answer, /^HTTP\/1\.1 200 OK/);
    answer = '';
    socket.write(GET);
    while (!answer.endsWith('}\n')) await sleep(5);
    t.match(answer, /"code":"method-not-allowed"/);
    const lines = await stage.log(2);
    t.match(lines, [{ 'policy.generation': 1 }, { 'policy.generation': 2 }]);
    socket.destroy();
  },
);

t.test('a faulty reload leaves the policy as it was', async (t) => {
  const node = await rawNode(t, (socket) => socket.write(OK));
  const stage = await setStage(t, { nodes: [node.address] });
  const metrics = async (): Promise<string> => (await fetch(`${stage.admin}/metrics`)).text();
  const readWell = /\npatchgate_policy_last_reload_success_timestamp_seconds [0-9.]+\n/;
  const atStart = await metrics();
  t.match(
    atStart,
    /\npatchgate_policy_last_reload_successful 1\n/,
    'the policy of the start was read successfully',
  );
  const tenant = join(stage.folder, 'policies', 'tenants', 'tenant-a.yaml');
  const written = await readFile(tenant, 'utf8');
  await writeFile(tenant, 'tenant: [');
  t.match(await stage.gateway.reload(), { successful: false, policy: { generation: 1 } });
  await writeFile(tenant, written);
  const file = join(stage.folder, 'policies', 'gateway.yaml');
  await writeFile(file, 'gateway: {');
  t.match(await stage.gateway.reload(), { successful: false, policy: { generation: 1 } });
  const socket = await stage.connect();
  t.match(await exchange(socket, GET, isWhole), /^HTTP\/1\.1 200 OK/);
  socket.destroy();
  const afterwards = await metrics();
  t.match(afterwards, /\npatchgate_policy_last_reload_successful 0\n/);
  t.same(
    readWell.exec(afterwards)?.[0],
    readWell.exec(atStart)?.[0],
    'the last success is that of the start',
  );
});

t.test('a gateway whose policy has a fault does not start', async (t) => {
  const folder = t.testdir({ 'gateway.yaml': 'gateway: { colour: red }\n', tenants: {} });
  const outcome = await startGateway({ policyFolder: folder, version: 'test', log: createLog('silent') });
  t.equal(outcome.gateway, undefined);
  t.match(outcome.faults, [{ path: 'gateway.listeners' }, { path: 'gateway.colour', line: 1, column: 12 }]);
});
