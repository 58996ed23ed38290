/** The death of a worker, of all workers, and of the process that started them. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { start, writePolicy } from '../commands/process.ts';
import { rawNode, sleep } from '../path/stage.ts';
import { SteadyCaller } from './steady-caller.ts';
import { allAccept, eventually, isAlive, setWorkers } from './workers-stage.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const CALLERS = 16;
const REQUESTS = 'patchgate_requests_total{listener="edge",tenant="tenant-a",route="open"';

/** Makes every worker process end that starts while the file is there. */
const failing = (flag: string): Record<string, string> => ({
  NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(
    `import{existsSync as e}from'node:fs';if(process.argv[1]?.includes('worker-entry')&&e(${JSON.stringify(flag)}))process.exit(3)`,
  )}`,
});

t.test('a worker killed under load takes down only its own connections', async (t) => {
  const node = await rawNode(t, (socket) => socket.write(OK));
  const stage = await setWorkers(t, { node: node.address });
  const { connect } = stage;
  const callers = Array.from({ length: CALLERS }, () => new SteadyCaller({ connect }));
  await eventually(async () => callers.every(({ answered }) => answered > 2));
  const [first, second] = await stage.workers();
  const before = await stage.metric(REQUESTS);
  process.kill(first?.pid ?? 0, 'SIGKILL');
  await eventually(async () =>
    (await stage.workers()).some(({ pid }) => pid !== first?.pid && pid !== second?.pid),
  );
  await allAccept(stage);
  t.ok(
    (await stage.workers()).some(({ pid }) => pid === second?.pid),
    'the other worker goes on',
  );
  const counts = callers.map(({ answered }) => answered);
  await eventually(async () => callers.every(({ answered }, at) => answered > (counts[at] ?? 0) + 2));
  await Promise.all(callers.map((caller) => caller.stop()));
  const untouched = callers.filter(({ connections, failures }) => connections === 1 && failures.length === 0);
  t.ok(untouched.length > 0, 'connections of the other worker are still served');
  t.equal(await stage.metric('patchgate_worker_restarts_total'), 1);
  t.ok((await stage.metric(REQUESTS)) >= before, 'no counter falls');
  t.match(stage.running.output.err, /"reason":"killed by SIGKILL","message":"worker ended, replacing it"/);
  await eventually(async () => (await stage.metric('patchgate_open_connections')) === 0);
  stage.running.child.kill('SIGTERM');
  t.equal(await stage.running.ended, 0);
});

t.test('no worker outlives its primary, however it ends', async (t) => {
  const node = await rawNode(t, (socket) => socket.write(OK));
  const stage = await setWorkers(t, { node: node.address });
  const pids = (await stage.workers()).map(({ pid }) => pid);
  t.equal(pids.length, 2);
  stage.running.child.kill('SIGKILL');
  await eventually(async () => !pids.some(isAlive));
});

t.test('while the primary stands still, routes without limits are still served', async (t) => {
  const node = await rawNode(t, (socket) => socket.write(OK));
  const stage = await setWorkers(t, { node: node.address });
  const { child, ended } = stage.running;
  // A worker asks for the certificate of a name when it first needs it.
  for (let turn = 0; turn < 2 * CALLERS; turn += 1) t.equal(await stage.status(), '200');
  child.kill('SIGSTOP');
  for (let turn = 0; turn < 2 * CALLERS; turn += 1) t.equal(await stage.status(), '200');
  child.kill('SIGCONT');
  await eventually(async () => (await stage.metric(REQUESTS)) === 4 * CALLERS);
  child.kill('SIGTERM');
  t.equal(await ended, 0);
});

t.test('workers that keep dying at their start end the gateway, which says why', async (t) => {
  const { folder } = await writePolicy(t, '127.0.0.1:1', '  workers: 2');
  const flag = join(folder, 'failing');
  await writeFile(flag, '');
  const running = start(t, ['serve', '--config', join(folder, 'policies')], '.', failing(flag));
  t.equal(await running.ended, 1);
  t.match(running.output.err, /patchgate: worker 1 cannot start: exited with status 3\n/);
});

t.test('replacement workers that keep dying end the gateway, which says why', async (t) => {
  const node = await rawNode(t, (socket) => socket.write(OK));
  const written = await writePolicy(t, node.address, '  workers: 2');
  const flag = join(written.folder, 'failing');
  const stage = await setWorkers(t, { node: node.address, env: failing(flag) });
  await writeFile(flag, '');
  // One more worker may be waiting that has already started.
  for (let deaths = 0; deaths < 2 && stage.running.child.exitCode === null; deaths += 1) {
    const { pid = 0 } = (await stage.workers().catch(() => []))[0] ?? {};
    if (pid !== 0) process.kill(pid, 'SIGKILL');
    await eventually(async () => stage.running.child.exitCode !== null || !isAlive(pid));
    await sleep(200);
  }
  t.equal(await stage.running.ended, 1);
  t.match(stage.running.output.err, /patchgate: worker \d cannot start: exited with status 3\n/);
});

t.test('a primary that can start no more processes ends the gateway, which says why', async (t) => {
  const node = await rawNode(t, (socket) => socket.write(OK));
  const stage = await setWorkers(t, { node: node.address });
  const { child, ended, output } = stage.running;
  const workers = await stage.workers();
  // No descriptor can be had again, whatever is released, not even to answer `/policy`.
  execFileSync('prlimit', ['--pid', String(child.pid), '--nofile=3']);
  // One process waits to take the place of one of them.
  for (const { pid } of workers) process.kill(pid, 'SIGKILL');
  t.equal(await ended, 1);
  t.match(output.err, /patchgate: worker \d cannot start: process not created: spawn .* EMFILE\n/);
});

t.test('an address that cannot be bound ends the gateway at its start', async (t) => {
  const taken = await rawNode(t, () => undefined);
  const { folder } = await writePolicy(t, '127.0.0.1:1', '  workers: 2');
  await writeFile(
    join(folder, 'policies', 'gateway.yaml'),
    `gateway:\n  listeners: [{ name: edge, address: '${taken.address}' }]\n  workers: 2\n  admin: { address: 127.0.0.1:0 }\n`,
  );
  const running = start(t, ['serve', '--config', join(folder, 'policies')]);
  t.equal(await running.ended, 1);
  t.match(running.output.err, /worker 1 cannot start: .*EADDRINUSE/);
});

t.test('a second signal ends all workers at once', async (t) => {
  const node = await rawNode(t, () => undefined);
  const stage = await setWorkers(t, {
    node: node.address,
    gateway: '  workers: 2\n  timeouts: { drain: 1h }',
  });
  const sockets = await Promise.all(Array.from({ length: 8 }, () => stage.connect()));
  for (const socket of sockets) {
    socket.on('error', () => undefined);
    socket.write('GET /open/x HTTP/1.1\r\nHost: a.test\r\n\r\n');
  }
  await eventually(async () => node.received.length === sockets.length);
  stage.running.child.kill('SIGTERM');
  await eventually(async () => stage.running.output.err.includes('draining'));
  stage.running.child.kill('SIGTERM');
  await Promise.all(sockets.map((socket) => socket.destroyed || once(socket, 'close')));
  t.equal(await stage.running.ended, 0);
});
