/** The workers of a gateway as its primary keeps them. */
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { LocalLimits } from '../../gateway/limits/local-limits.ts';
import { createLog } from '../../gateway/observe/log.ts';
import { createMetrics } from '../../gateway/observe/metrics.ts';
import { followPolicy } from '../../gateway/policy-follower.ts';
import { Fleet, type FleetOptions } from '../../gateway/workers/fleet.ts';
import { type Forked, forkWorker } from '../../gateway/workers/fork.ts';
import { writePolicy } from '../commands/process.ts';
import { exchange, isWhole, rawNode, secure } from '../path/stage.ts';
import { eventually } from './workers-stage.ts';

async function fleetOf(t: Test, policyFolder: string, more: Partial<FleetOptions> = {}): Promise<Fleet> {
  const log = createLog('silent');
  const metrics = createMetrics({});
  const { follower } = await followPolicy({ policyFolder, log, metrics });
  if (follower === undefined) throw new Error('the policy has faults');
  const fleet = new Fleet({
    settings: {
      processes: 2,
      readsInPlace: true,
      reusePort: false,
      audit: undefined,
    },
    control: follower.handoff((fault) => t.fail(fault)),
    audit: undefined,
    fork: forkWorker,
    metrics,
    limits: new LocalLimits(),
    accessLog: undefined,
    log,
    onGivenUp: (error) => t.fail(error.message),
    ...more,
  });
  t.teardown(() => {
    fleet.stopNow();
    follower.close();
  });
  return fleet;
}

t.test('where no two can bind one address all accept from the one socket of the primary', async (t) => {
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
    channel: { send: () => void setImmediate(() => hear('by SIGSEGV')), onMessage: () => undefined },
    onEnd: (told) => {
      hear = told;
    },
    kill: () => undefined,
  };
}

t.test('one that ends at its start is tried again some times, and no more', async (t) => {
  let forks = 0;
  const { folder } = await writePolicy(t, 'http://127.0.0.1:1');
  const fleet = await fleetOf(t, join(folder, 'policies'), {
    fork: () => {
      forks += 1;
      return stillborn();
    },
  });
  await t.rejects(fleet.listen(), { message: 'worker 1 cannot start: it ended by SIGSEGV' });
  t.equal(forks, 5);
  t.equal(fleet.isAccepting, false);
});

t.test('one that says why it cannot start is not tried again', async (t) => {
  const { folder } = await writePolicy(
    t,
    'http://127.0.0.1:1',
    '  accessLog: { file: nowhere/access.jsonl }',
  );
  const fleet = await fleetOf(t, join(folder, 'policies'));
  await t.rejects(fleet.listen(), { message: /^worker 1 cannot start: .*ENOENT.*nowhere/ });
});

t.test('nobody waits for the answer of one that is gone', async (t) => {
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
