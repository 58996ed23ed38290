/** Requests, places and bytes of one holder are taken together or not at all, and each place is given back. */
import t from 'tap';
import type { LimitLease, LimitRefusal } from '../../gateway/limits/limits-backend.ts';
import { LocalLimits } from '../../gateway/limits/local-limits.ts';
import type { Quotas } from '../../gateway/policy/policy.ts';

const ask = (limits: LocalLimits, quotas: Quotas, declaredBytes = 0, nowMs = 0) =>
  limits.claim({ holder: 'h', limits: quotas, declaredBytes }, nowMs);

function lease(answer: LimitLease | LimitRefusal): LimitLease {
  if (answer.kind === 'refusal') throw new Error(answer.limit);
  return answer;
}

t.test('so many requests run at once, and one more when one has ended', async (t) => {
  const limits = new LocalLimits();
  const first = lease(ask(limits, { concurrent: 2 }));
  lease(ask(limits, { concurrent: 2 }));
  t.match(ask(limits, { concurrent: 2 }), { kind: 'refusal', limit: 'concurrent', waitMs: 1000 });
  first.release(0, 0);
  t.equal(limits.taken, 1);
  lease(ask(limits, { concurrent: 2 }));
  t.equal(limits.taken, 2);
});

t.test('a reload that raises or lowers a limit counts what is already running', async (t) => {
  const limits = new LocalLimits();
  const leases = [1, 2, 3].map(() => lease(ask(limits, { concurrent: 3 })));
  t.match(ask(limits, { concurrent: 1 }), { limit: 'concurrent' });
  lease(ask(limits, { concurrent: 4 }));
  for (const each of leases) each.release(0, 0);
  t.match(ask(limits, { concurrent: 1 }), { limit: 'concurrent' });
});

t.test('a lease without a place gives none back', async (t) => {
  const limits = new LocalLimits();
  lease(ask(limits, { concurrent: 5 }));
  lease(ask(limits, { requests: { count: 5, perMs: 1000 } })).release(0, 0);
  t.equal(limits.taken, 1);
});

t.test('a request that finds no place uses up no rate', async (t) => {
  const limits = new LocalLimits();
  const rules = { concurrent: 1, requests: { count: 2, perMs: 1000 } };
  const only = lease(ask(limits, rules));
  for (let turn = 0; turn < 5; turn++) t.match(ask(limits, rules), { limit: 'concurrent' });
  only.release(0, 0);
  lease(ask(limits, rules)).release(0, 0);
  t.match(ask(limits, rules), { limit: 'requests', waitMs: 500 });
  t.equal(limits.taken, 0, 'a request over its rate takes no place');
  lease(ask(limits, rules, 0, 500));
});

t.test('declared bytes are paid for at the start, and others as they flow', async (t) => {
  const limits = new LocalLimits();
  const bytes = { count: 1000, perMs: 10_000 };
  const declared = lease(ask(limits, { bytes }, 700));
  t.match(
    ask(limits, { bytes }, 400),
    { limit: 'bytes', waitMs: 1000 },
    'a body larger than the rest does not begin',
  );
  const open = lease(ask(limits, { bytes }));
  t.equal(declared.spend(700, 0), undefined);
  t.equal(open.spend(300, 0), undefined);
  t.match(ask(limits, { bytes }), { limit: 'bytes' }, 'not a byte is left');
  t.match(open.spend(301, 0), { kind: 'refusal', limit: 'bytes', waitMs: 10, left: 0 });
  declared.release(700, 0);
  open.release(301, 0);
  t.match(ask(limits, { bytes }, 1000, 10_000), { limit: 'bytes', waitMs: 10 }, 'one byte was too many');
  lease(ask(limits, { bytes }, 1000, 10_010));
});

t.test('declared bytes that did not come are given back', async (t) => {
  const limits = new LocalLimits();
  const bytes = { count: 1000, perMs: 10_000 };
  lease(ask(limits, { bytes }, 1000)).release(10, 0);
  t.match(ask(limits, { bytes }, 990), { kind: 'lease' });
});

t.test('a body larger than the whole budget never begins', async (t) => {
  const limits = new LocalLimits();
  t.match(ask(limits, { bytes: { count: 1000, perMs: 10_000 } }, 1001), { limit: 'bytes' });
});
