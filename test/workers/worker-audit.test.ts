/** The audit log and limits as a worker sees them while its primary takes nothing. */
import t from 'tap';
import type { AuditEntry } from '../../gateway/audit/entry.ts';
import { createMetrics } from '../../gateway/observe/metrics.ts';
import type { FromWorker, WorkerEnd } from '../../gateway/workers/messages.ts';
import { WorkerAudit } from '../../gateway/workers/worker-audit.ts';
import { WorkerLimits } from '../../gateway/workers/worker-limits.ts';

const BOUND = 4096;
const ENTRY: AuditEntry = { event: 'ended', timeMs: 0 };

/** A channel to a primary that takes messages when the test says so. */
function stuckChannel() {
  const sent: FromWorker[] = [];
  const waiting: (() => void)[] = [];
  const channel: WorkerEnd = {
    send: (message, onSent) => {
      sent.push(message);
      if (onSent !== undefined) waiting.push(onSent);
    },
    onMessage: () => undefined,
  };
  const takeAll = (): void => {
    for (const onSent of waiting.splice(0)) onSent();
  };
  return { channel, sent, takeAll };
}

t.test('lines beyond a bound are dropped and counted, and the log says so afterwards', async (t) => {
  const { channel, sent, takeAll } = stuckChannel();
  const metrics = createMetrics({});
  const audit = new WorkerAudit(channel, false, metrics);
  for (let lines = 0; lines < BOUND + 3; lines += 1) audit.record(ENTRY);
  t.equal(sent.length, BOUND);
  t.match((await metrics.text()).body, 'patchgate_audit_lines_total{outcome="lost"} 3\n');
  takeAll();
  audit.record(ENTRY);
  audit.record(ENTRY);
  t.match(sent.slice(BOUND), [
    { entry: { event: 'resumed', note: /; 3 lines were given up$/ } },
    { entry: ENTRY },
    { entry: ENTRY },
  ]);
});

t.test(
  'dropped lines are reported to the log as soon as there is room, even if nothing more is recorded',
  (t) => {
    const { channel, sent, takeAll } = stuckChannel();
    const audit = new WorkerAudit(channel, false, createMetrics({}));
    for (let lines = 0; lines < BOUND + 3; lines += 1) audit.record(ENTRY);
    takeAll();
    t.match(sent.slice(BOUND), [{ entry: { event: 'resumed', note: /; 3 lines were given up$/ } }]);
    t.equal(sent.length, BOUND + 1);
    t.end();
  },
);

t.test('a request waiting for a line beyond the bound is told at once', async (t) => {
  const { channel } = stuckChannel();
  const audit = new WorkerAudit(channel, true, createMetrics({}));
  const written: boolean[] = [];
  for (let lines = 0; lines < BOUND + 1; lines += 1)
    audit.record(ENTRY, (isWritten) => written.push(isWritten));
  t.same(written, [false]);
});

t.test('a limit claimed beyond the bound is refused at once', async (t) => {
  const { channel, sent, takeAll } = stuckChannel();
  const limits = new WorkerLimits(channel);
  const claim = () => limits.claim({ holder: 'h', limits: { concurrent: 1 }, declaredBytes: 0 }, 0);
  const waiting = Array.from({ length: BOUND }, claim);
  await t.rejects(claim(), { message: 'too many claims wait for the primary' });
  takeAll();
  waiting.push(claim());
  t.equal(sent.length, BOUND + 1);
  limits.giveUp(60_000);
  await Promise.allSettled(waiting);
});
