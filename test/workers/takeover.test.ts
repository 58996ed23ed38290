/** A new version takes over from a running one at the same addresses without anybody noticing. */
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { ports, start } from '../commands/process.ts';
import { exchange, rawNode, sleep } from '../path/stage.ts';
import { SteadyCaller } from './steady-caller.ts';
import { eventually, setWorkers } from './workers-stage.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

for (const workers of [1, 2]) {
  t.test(`no request fails while one gateway takes over from another, workers: ${workers}`, async (t) => {
    const node = await rawNode(t, (socket, text) => {
      if (text.endsWith('\r\n\r\n') || text.endsWith('the end')) socket.write(OK);
    });
    const stage = await setWorkers(t, { node: node.address, gateway: `  workers: ${workers}` });
    const old = await ports(stage.running);
    const file = join(stage.config, 'gateway.yaml');
    const text = await readFile(file, 'utf8');
    await writeFile(
      file,
      text
        .replace('address: 127.0.0.1:0', `address: 127.0.0.1:${old.edge}`)
        .replace('admin: { address: 127.0.0.1:0 }', `admin: { address: 127.0.0.1:${old.admin} }`),
    );
    const upload = await stage.connect();
    const uploaded = exchange(
      upload,
      'PUT /open/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 12\r\n\r\nhalf ',
    );
    const { connect } = stage;
    const callers = [
      ...Array.from({ length: 8 }, () => new SteadyCaller({ connect })),
      ...Array.from({ length: 4 }, () => new SteadyCaller({ connect, isFresh: true })),
    ];
    await eventually(async () => callers.every(({ answered }) => answered > 2));

    const next = start(t, ['serve', '--config', stage.config]);
    t.same(await ports(next), old, 'it listens at the same addresses');
    stage.running.child.kill('SIGTERM');
    await eventually(async () => stage.running.output.err.includes('draining'));
    await sleep(300);
    t.equal(stage.running.child.exitCode, null, 'the old gateway stays for its stream');
    const ready = await Promise.all(
      Array.from({ length: 10 }, async () => (await fetch(`http://127.0.0.1:${old.admin}/readyz`)).status),
    );
    t.same(new Set(ready), new Set([200]), 'only the new gateway reports readiness');
    upload.write('the end');
    t.match(await uploaded, /^HTTP\/1\.1 200 /);
    t.equal(await stage.running.ended, 0);

    const before = callers.map(({ answered }) => answered);
    await eventually(async () => callers.every(({ answered }, at) => answered > (before[at] ?? 0) + 2));
    for (const caller of callers) await caller.stop();
    t.same(
      callers.flatMap(({ failures }) => failures),
      [],
    );
    // Each socket that closes may leave one connection to the kernel, which resets it unless told to migrate it.
    const resets = callers.reduce((sum, caller) => sum + caller.resets, 0);
    t.ok(resets <= workers, `${resets} connections were reset before anything was asked`);
    next.child.kill('SIGTERM');
    t.equal(await next.ended, 0);
  });
}

t.test('a gateway without a successor goes on reporting that it drains', async (t) => {
  const node = await rawNode(t, () => undefined);
  const stage = await setWorkers(t, {
    node: node.address,
    gateway: '  workers: 1\n  timeouts: { drain: 1h }',
  });
  const { admin } = await ports(stage.running);
  const socket = await stage.connect();
  socket.on('error', () => undefined);
  socket.write('GET /open/x HTTP/1.1\r\nHost: a.test\r\n\r\n');
  await eventually(async () => node.received.length === 1);
  stage.running.child.kill('SIGTERM');
  await eventually(async () => stage.running.output.err.includes('draining'));
  await eventually(async () => (await fetch(`http://127.0.0.1:${admin}/readyz`)).status === 503);
  stage.running.child.kill('SIGTERM');
  if (!socket.destroyed) await once(socket, 'close');
  t.equal(await stage.running.ended, 0);
});
