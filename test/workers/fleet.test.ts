/** The workers of a gateway, as its primary manages them. */
import { join } from 'node:path';
import t from 'tap';
import type { Forked } from '../../gateway/workers/fork.ts';
import { writePolicy } from '../commands/process.ts';
import { exchange, isWhole, rawNode, secure } from '../path/stage.ts';
import { fleetOf } from './fleet-stage.ts';
import { eventually } from './workers-stage.ts';

t.test('where two cannot bind one address all workers accept from the socket of the primary', async (t) => {
  const node = await rawNode(t, (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
  const { folder, caller } = await writePolicy(t, node.address);
  const fleet = await fleetOf(t, join(folder, 'policies'));
  const port = (await fleet.listen()).get('edge')?.port ?? 0;
  const ask = async (): Promise<string> => {
    const socket = await secure({ host: '127.0.0.1', port, ...caller });
    const answer = await exchange(socket, 'GET /open/x HTTP/1.1\r\nHost: a.test\r\n\r\n', isWhole);
    socket.destroy();
    return answer.slice(0, 12);
  };
  t.equal(await ask(), 'HTTP/1.1 200');
  const pids = (): readonly number[] =>
    (fleet.status as { workers: readonly { pid: number }[] }).workers.map(({ pid }) => pid);
  const before = pids();
  process.kill(before[0] ?? 0, 'SIGKILL');
  await eventually(async () => fleet.isAccepting && pids().some((pid) => !before.includes(pid)));
  for (let turn = 0; turn < 8; turn += 1) t.equal(await ask(), 'HTTP/1.1 200');
  await fleet.drain();
  t.same(pids(), []);
});

/** A process that ends as soon as it is told to do anything. */
function stillborn(): Forked {
  let hear: (reason: string) => void = () => undefined;
  return {
    pid: 1,
    channel: { send: () => void setImmediate(() => hear('killed by SIGSEGV')), onMessage: () => undefined },
    onEnd: (told) => {
      hear = told;
    },
    kill: () => undefined,
  };
}

t.test('a worker that ends at its start is tried a limited number of times', async (t) => {
  let forks = 0;
  const { folder } = await writePolicy(t, 'http://127.0.0.1:1');
  const fleet = await fleetOf(t, join(folder, 'policies'), {
    fork: () => {
      forks += 1;
      return stillborn();
    },
  });
  await t.rejects(fleet.listen(), { message: 'worker 1 cannot start: killed by SIGSEGV' });
  t.equal(forks, 5);
  t.equal(fleet.isAccepting, false);
});

t.test('a worker that says why it cannot start is not tried again', async (t) => {
  const { folder } = await writePolicy(
    t,
    'http://127.0.0.1:1',
    '  accessLog: { file: nowhere/access.jsonl }',
  );
  const fleet = await fleetOf(t, join(folder, 'policies'));
  await t.rejects(fleet.listen(), { message: /^worker 1 cannot start: .*ENOENT.*nowhere/ });
});

t.test('nobody waits for the answer of a worker that is gone', async (t) => {
  const node = await rawNode(t, () => undefined);
  const { folder } = await writePolicy(t, node.address);
  const fleet = await fleetOf(t, join(folder, 'policies'));
  await fleet.listen();
  const nodes = fleet.nodes();
  for (const { pid } of (fleet.status as { workers: readonly { pid: number }[] }).workers)
    process.kill(pid, 'SIGKILL');
  t.ok(Array.isArray(await nodes));
  await fleet.drain();
});
