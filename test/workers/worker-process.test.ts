/** A worker as its primary sees it. */
import t from 'tap';
import { LocalLimits } from '../../gateway/limits/local-limits.ts';
import { createMetrics } from '../../gateway/observe/metrics.ts';
import type { FromWorker } from '../../gateway/workers/messages.ts';
import { WorkerProcess, type WorkerProcessOptions } from '../../gateway/workers/worker-process.ts';
import { type FakeWorker, fakeWorker } from './fake-worker.ts';

type Link = ReturnType<WorkerProcessOptions['control']['attach']>;

/** The worker process of that fake, as its primary has it. */
function processOf(fake: FakeWorker, link: Partial<Link> = {}) {
  const reasons: string[] = [];
  const metrics = createMetrics({});
  const worker = new WorkerProcess({
    forked: fake.forked,
    settings: {
      number: 1,
      processes: 2,
      readsInPlace: true,
      reusePort: true,
      addresses: new Map(),
      drained: [],
      audit: undefined,
    },
    control: { attach: () => ({ close: () => undefined, ...link }) as Link },
    limits: new LocalLimits(),
    audit: undefined,
    series: metrics.merge(),
    onLines: () => undefined,
    onEnd: (reason) => reasons.push(reason),
  });
  return { worker, reasons, metrics };
}

t.test('a worker that is silent for 30 turns is killed, with that as the reason', async (t) => {
  const fake = fakeWorker();
  const { worker, reasons, metrics } = processOf(fake);
  const turns = (count: number): void => {
    for (let turn = 0; turn < count; turn += 1) worker.turn();
  };
  turns(3);
  t.notOk(worker.isSilent);
  turns(1);
  t.ok(worker.isSilent, 'nobody should be sent to it after four turns');
  turns(25);
  fake.say({ kind: 'series', snapshot: metrics.snapshot() } satisfies FromWorker);
  t.notOk(worker.isSilent);
  turns(29);
  t.equal(fake.kills, 0);
  turns(1);
  t.equal(fake.kills, 1);
  t.match(await worker.started, { told: false, reason: 'killed after 30 s without a message' });
  t.same(reasons, ['killed after 30 s without a message']);
});

t.test('a node the worker does not know yet is drained once it has the policy naming it', async (t) => {
  let isSettled = false;
  const fake = fakeWorker((message, worker) => {
    if (message.kind === 'set-drained') worker.say({ kind: 'drained-set', id: message.id, known: isSettled });
  });
  const { worker } = processOf(fake, {
    settled: async () => {
      isSettled = true;
    },
  });
  const name = { upstream: 'tenant-a/sync', node: 'http://a' };
  await worker.setDrained(name, () => true);
  const told = { kind: 'set-drained', name, drained: true };
  t.match(fake.heard.slice(1), [told, told]);
  await worker.setDrained(name, () => true);
  t.equal(fake.heard.length, 4, 'it is asked no more often than necessary');
});

t.test('a drain sent while a policy is on its way is not undone by an earlier order', async (t) => {
  const settled = Promise.withResolvers<void>();
  let knowsNode = false;
  let drained: boolean | undefined;
  const fake = fakeWorker((message, worker) => {
    if (message.kind !== 'set-drained') return;
    if (knowsNode) drained = message.drained;
    worker.say({ kind: 'drained-set', id: message.id, known: knowsNode });
  });
  const { worker } = processOf(fake, { settled: () => settled.promise });
  const name = { upstream: 'tenant-a/sync', node: 'http://a' };
  let isDrained = true;
  const early = worker.setDrained(name, () => isDrained);
  while (fake.heard.length < 2) await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
  knowsNode = true;
  isDrained = false;
  await worker.setDrained(name, () => isDrained);
  settled.resolve();
  await early;
  t.equal(drained, false);
});
