/** A worker as its primary knows it. */
import t from 'tap';
import { LocalLimits } from '../../gateway/limits/local-limits.ts';
import { createMetrics } from '../../gateway/observe/metrics.ts';
import type { FromWorker } from '../../gateway/workers/messages.ts';
import { WorkerProcess, type WorkerProcessOptions } from '../../gateway/workers/worker-process.ts';
import { fakeWorker } from './fake-worker.ts';

type Link = ReturnType<WorkerProcessOptions['control']['attach']>;

t.test('one that says nothing for 30 turns is killed, and that is the reason it is given', async (t) => {
  const fake = fakeWorker();
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
    control: { attach: () => ({ close: () => undefined }) as Link },
    limits: new LocalLimits(),
    audit: undefined,
    series: metrics.merge(),
    onLines: () => undefined,
    onEnd: (reason) => reasons.push(reason),
  });
  const turns = (count: number): void => {
    for (let turn = 0; turn < count; turn += 1) worker.turn();
  };
  turns(3);
  t.notOk(worker.isSilent);
  turns(1);
  t.ok(worker.isSilent, 'nobody should be sent to it after four');
  turns(25);
  fake.say({ kind: 'series', snapshot: metrics.snapshot() } satisfies FromWorker);
  t.notOk(worker.isSilent);
  turns(29);
  t.equal(fake.kills, 0);
  turns(1);
  t.equal(fake.kills, 1);
  t.match(await worker.started, { told: false, reason: 'it has said nothing for 30 s' });
  t.same(reasons, ['it has said nothing for 30 s']);
});
