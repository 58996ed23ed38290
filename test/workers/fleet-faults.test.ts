/** Faults of single workers, as the fleet deals with them. */
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { FleetOptions } from '../../gateway/workers/fleet.ts';
import type { FromWorker, ToWorker } from '../../gateway/workers/messages.ts';
import { writePolicy } from '../commands/process.ts';
import { sampleUpstream } from '../relay/sample-upstream.ts';
import { type FakeWorker, fakeWorker, obedient } from './fake-worker.ts';
import { fleetOf } from './fleet-stage.ts';
import { eventually } from './workers-stage.ts';

type OnHeard = (message: ToWorker, worker: FakeWorker) => void;

/** A fleet of two; workers started later do what `later` says. */
async function twoOf(t: Test, later: OnHeard = obedient, more: Partial<FleetOptions> = {}) {
  const { folder } = await writePolicy(t, 'http://127.0.0.1:1');
  const workers: FakeWorker[] = [];
  const fork = () => {
    const worker = fakeWorker(workers.length < 2 ? obedient : later);
    workers.push(worker);
    return worker.forked;
  };
  const fleet = await fleetOf(t, join(folder, 'policies'), { fork, ...more });
  await fleet.listen();
  const [first, second, third] = workers;
  if (first === undefined || second === undefined || third === undefined) throw new Error('two and a spare');
  return { fleet, workers, first, second, third };
}

const GARBAGE: readonly unknown[] = [
  null,
  undefined,
  { kind: 'claim', id: 1 },
  { kind: 'series', snapshot: undefined },
  { kind: 'view', id: 1 },
];

for (const message of GARBAGE) {
  t.test(`only a worker with an invalid message is replaced: ${JSON.stringify(message)}`, async (t) => {
    const { fleet, first, second } = await twoOf(t);
    first.say(message as FromWorker);
    await turn();
    t.equal(first.kills, 1);
    await eventually(async () => fleet.isAccepting);
    t.equal(second.kills, 0);
    await fleet.drain();
  });
}

const quiet: OnHeard = (message, worker) => {
  if (message.kind !== 'start') obedient(message, worker);
};

t.test('a node drained or resumed while a worker starts is so for that worker too', async (t) => {
  const upstreams = () => [sampleUpstream(['http://a', 'http://b'])];
  const { fleet, first, third } = await twoOf(t, quiet, { upstreams });
  await fleet.setDrained('tenant-a/sync', 'http://a', true);
  first.end('killed by SIGKILL');
  t.match(third.heard, [{ kind: 'start', settings: { drained: [{ node: 'http://a' }] } }]);
  t.ok(await fleet.setDrained('tenant-a/sync', 'http://a', false));
  t.ok(await fleet.setDrained('tenant-a/sync', 'http://b', true));
  third.say({ kind: 'up', addresses: new Map() });
  await turn();
  t.match(third.heard.slice(1), [
    { kind: 'set-drained', name: { node: 'http://a' }, drained: false },
    { kind: 'set-drained', name: { node: 'http://b' }, drained: true },
  ]);
  await fleet.drain();
});

t.test('a worker that comes up while others are told of a drain learns of it', async (t) => {
  const { fleet, first, second, third } = await twoOf(t, quiet, {
    upstreams: () => [sampleUpstream(['http://a'])],
  });
  first.end('killed by SIGKILL');
  Object.assign(second.forked.channel, { send: () => undefined });
  void fleet.setDrained('tenant-a/sync', 'http://a', true);
  third.say({ kind: 'up', addresses: new Map() });
  await turn();
  t.match(third.heard.slice(1), [{ kind: 'set-drained', name: { node: 'http://a' }, drained: true }]);
  second.end('killed by SIGKILL');
  await fleet.drain();
});

t.test('a drain ends when the policy stops naming the node', async (t) => {
  let nodes = ['http://a', 'http://b'];
  const upstreams = () => [sampleUpstream(nodes)];
  const { fleet, first, third } = await twoOf(t, quiet, { upstreams });
  t.notOk(await fleet.setDrained('tenant-a/sync', 'http://c', true));
  for (const node of nodes) t.ok(await fleet.setDrained('tenant-a/sync', node, true));
  for (const named of [['http://b'], ['http://a', 'http://b']]) {
    nodes = named;
    fleet.policyChanged();
  }
  first.end('killed by SIGKILL');
  t.match(third.heard[0], { kind: 'start', settings: { drained: [{ node: 'http://b' }] } });
  t.match(third.heard[0], { settings: { drained: { length: 1 } } });
  await fleet.drain();
});

t.test('while others run, a worker that fails to start is tried again', async (t) => {
  let failures = 0;
  const { fleet, workers, first } = await twoOf(t, (message, worker) => {
    if (message.kind === 'start' && failures < 2) {
      failures += 1;
      worker.say({ kind: 'failed', reason: 'no room in the log' });
    } else obedient(message, worker);
  });
  first.end('killed by SIGKILL');
  await eventually(async () => fleet.isAccepting);
  t.equal(failures, 2);
  t.ok(workers.length > 4);
  await fleet.drain();
});

t.test('another worker stands by when the one that did has ended', async (t) => {
  const { fleet, workers, third } = await twoOf(t);
  third.end('killed by SIGTERM');
  await eventually(async () => workers.length === 4);
  t.same(workers[3]?.heard, []);
  await fleet.drain();
});

t.test('a worker that stands still is not waited for at the end of a drain', async (t) => {
  const { fleet, first, second } = await twoOf(t);
  Object.assign(first.forked.channel, { send: () => undefined });
  await fleet.drain();
  t.equal(first.kills, 1);
  t.equal(second.kills, 0);
});
