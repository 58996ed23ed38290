/** Claims of a worker at its primary: it asks seldom and gives back always. */
import t from 'tap';
import { LocalLimits } from '../../gateway/limits/local-limits.ts';
import type { Quotas } from '../../gateway/policy/policy.ts';
import { LimitDesk } from '../../gateway/workers/limit-desk.ts';
import type { FromWorker, ToWorker } from '../../gateway/workers/messages.ts';
import { WorkerLimits } from '../../gateway/workers/worker-limits.ts';

type Asked = Extract<FromWorker, { kind: 'claim' | 'spend' | 'release' }>;
type Given = Extract<ToWorker, { kind: 'claimed' | 'spent' }>;

/** A worker and its primary, directly connected; with `isSilent` the answers of the primary are held back. */
function pair({ isSilent = false } = {}) {
  const local = new LocalLimits();
  const sent: Asked[] = [];
  const kept: Given[] = [];
  const desk = new LimitDesk(
    local,
    (message) => {
      if (isSilent) kept.push(message as Given);
      else worker.onGiven(structuredClone(message) as Given);
    },
    (error) => t.fail(String(error)),
  );
  const worker: WorkerLimits = new WorkerLimits({
    send: (message) => {
      sent.push(message as Asked);
      desk.onAsked(structuredClone(message) as Asked);
    },
    onMessage: () => undefined,
  });
  const claim = (limits: Quotas, declaredBytes = 0) =>
    worker.claim({ holder: 'h', limits, declaredBytes }, 0);
  return { local, sent, kept, desk, worker, claim };
}

t.test('a place is taken at the primary, refused there, and given back', async (t) => {
  const { local, claim } = pair();
  const lease = await claim({ concurrent: 1 });
  t.equal(local.taken, 1);
  t.match(await claim({ concurrent: 1 }), { kind: 'refusal', limit: 'concurrent' });
  if (lease.kind === 'lease') lease.release(0, 0);
  t.equal(local.taken, 0);
});

t.test('bytes are claimed in advance pieces, and a spent budget is refused', async (t) => {
  const { sent, claim } = pair();
  const lease = await claim({ bytes: { count: 64_000, perMs: 3_600_000 } });
  if (lease.kind !== 'lease') throw new Error('no lease');
  for (let total = 0; total < 10_000; total += 10)
    if (total > lease.paidBytes) t.equal(await lease.spend(total, 0), undefined);
  const asked = sent.filter(({ kind }) => kind === 'spend').length;
  t.ok(asked > 10 && asked < 100, `the primary was asked ${asked} times`);
  t.match(await lease.spend(70_000, 0), { kind: 'refusal', limit: 'bytes' });
});

t.test('declared bytes are paid for at the start', async (t) => {
  const { claim } = pair();
  const lease = await claim({ bytes: { count: 6400, perMs: 3_600_000 } }, 5000);
  t.match(lease, { kind: 'lease', paidBytes: 5000, left: { bytes: 1400 } });
});

t.test('a worker that is gone holds no place', async (t) => {
  const { local, desk, claim } = pair();
  await claim({ concurrent: 9 });
  await claim({ concurrent: 9 });
  t.equal(local.taken, 2);
  desk.close();
  t.equal(local.taken, 0);
});

t.test('a worker that is gone is refunded no bytes that may have flowed', async (t) => {
  const { local, desk, claim } = pair();
  const limits = { bytes: { count: 100_000, perMs: 86_400_000 }, concurrent: 9 };
  const declared = await claim(limits, 50_000);
  const open = await claim(limits);
  if (declared.kind !== 'lease' || open.kind !== 'lease') throw new Error('no lease');
  await open.spend(20_000, 0);
  desk.close();
  t.equal(local.taken, 0);
  const refusal = local.claim({ holder: 'h', limits, declaredBytes: 31_000 }, performance.now());
  t.match(refusal, { kind: 'refusal', limit: 'bytes' });
  const rest = local.claim({ holder: 'h', limits, declaredBytes: 20_000 }, performance.now());
  t.match(rest, { kind: 'lease' }, 'it pays for nothing else');
});

t.test('a worker that dies before its request is admitted pays for nothing', async (t) => {
  const { local, desk, claim } = pair({ isSilent: true });
  const limits = { bytes: { count: 1000, perMs: 86_400_000 } };
  claim(limits, 1000).catch(() => undefined);
  desk.close();
  await new Promise((resolve) => setImmediate(resolve));
  t.match(local.claim({ holder: 'h', limits, declaredBytes: 1000 }, performance.now()), { kind: 'lease' });
});

t.test('a primary that does not answer is given up, and a late place goes back', async (t) => {
  const { local, kept, worker, claim } = pair({ isSilent: true });
  const waiting = claim({ concurrent: 1 });
  await new Promise((resolve) => setImmediate(resolve));
  worker.giveUp(4999);
  worker.giveUp(5000);
  await t.rejects(waiting, { message: 'the primary does not answer' });
  t.equal(local.taken, 1);
  for (const given of kept) worker.onGiven(given);
  t.equal(local.taken, 0);
});

t.test('nor is it waited for any longer by a stream that needs more bytes', async (t) => {
  const { desk, kept, worker, claim } = pair({ isSilent: true });
  const waiting = claim({ bytes: { count: 64_000, perMs: 3_600_000 } });
  await new Promise((resolve) => setImmediate(resolve));
  for (const given of kept.splice(0)) worker.onGiven(given);
  const lease = await waiting;
  if (lease.kind !== 'lease') throw new Error('no lease');
  const spent = Promise.resolve(lease.spend(lease.paidBytes + 1, 1000));
  let isSettled = false;
  spent.then(
    () => undefined,
    () => {
      isSettled = true;
    },
  );
  await new Promise((resolve) => setImmediate(resolve));
  worker.giveUp(5999);
  await new Promise((resolve) => setImmediate(resolve));
  t.notOk(isSettled);
  worker.giveUp(6000);
  await t.rejects(spent, { message: 'the primary does not answer' });
  for (const given of kept) worker.onGiven(given);
  desk.close();
});
