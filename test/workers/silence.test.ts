/** A worker that stands still is reported long before it is given up; one whose primary stood still is not. */
import t from 'tap';
import { rawNode, sleep } from '../path/stage.ts';
import { allAccept, eventually, setWorkers, type WorkersStage } from './workers-stage.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
/** Longer than a worker may be silent. */
const STILL_MS = 6000;

const isReady = async ({ admin }: WorkersStage): Promise<boolean> =>
  JSON.parse(await admin('/readyz')).status === 'ready';

t.test('while a worker stands still the gateway is not ready, and it is again afterwards', async (t) => {
  const node = await rawNode(t, (socket) => socket.write(OK));
  const stage = await setWorkers(t, { node: node.address });
  await allAccept(stage);
  t.ok(await isReady(stage));
  const [first, second] = await stage.workers();
  process.kill(first?.pid ?? 0, 'SIGSTOP');
  await eventually(async () => !(await isReady(stage)));
  t.match(await stage.workers(), [
    { pid: first?.pid, accepting: true, silent: true },
    { pid: second?.pid, accepting: true, silent: false },
  ]);
  process.kill(first?.pid ?? 0, 'SIGCONT');
  await eventually(async () => isReady(stage));
  t.same(
    (await stage.workers()).map(({ pid }) => pid),
    [first?.pid, second?.pid],
    'no worker was killed',
  );
});

t.test('a primary that stood still does not consider its workers silent', async (t) => {
  const node = await rawNode(t, (socket) => socket.write(OK));
  const stage = await setWorkers(t, { node: node.address });
  await allAccept(stage);
  stage.running.child.kill('SIGSTOP');
  await sleep(STILL_MS);
  stage.running.child.kill('SIGCONT');
  for (let asked = 0; asked < 20; asked += 1) {
    t.ok(await isReady(stage));
    await sleep(50);
  }
});
