/** A node is out after failures in a row, each time in a row for longer, and never more of them than may be. */
import t from 'tap';
import { Ejection } from '../../gateway/relay/ejection.ts';

const settings = { consecutiveFailures: 3, forMs: 100, maxForMs: 250, maxShare: 50 };
const always = (): boolean => true;

function failThrice(ejection: Ejection, nowMs: number, mayGo = always): boolean {
  return [1, 2, 3].map(() => ejection.failed(nowMs, mayGo)).includes(true);
}

t.test('failures in a row, and no others', async (t) => {
  const ejection = new Ejection(settings);
  t.same([ejection.failed(0, always), ejection.failed(0, always)], [false, false]);
  ejection.succeeded();
  t.same([ejection.failed(0, always), ejection.failed(0, always)], [false, false]);
  t.notOk(ejection.isOut(0));
  t.ok(ejection.failed(0, always));
  t.ok(ejection.isOut(99));
  t.notOk(ejection.isOut(100));
});

t.test('each time in a row it is out for longer, up to a bound', async (t) => {
  const ejection = new Ejection(settings);
  let nowMs = 0;
  for (const forMs of [100, 200, 250, 250]) {
    t.ok(failThrice(ejection, nowMs));
    t.equal(ejection.untilMs, nowMs + forMs);
    nowMs = ejection.untilMs + 50;
  }
});

t.test('who has served as long as it was out begins anew', async (t) => {
  const ejection = new Ejection(settings);
  t.ok(failThrice(ejection, 0));
  t.ok(failThrice(ejection, 150));
  t.equal(ejection.untilMs, 350);
  t.ok(failThrice(ejection, 551));
  t.equal(ejection.untilMs, 651);
});

t.test('where too few others are left it stays, and goes with the next failure that may', async (t) => {
  const ejection = new Ejection(settings);
  t.notOk(failThrice(ejection, 0, () => false));
  t.notOk(ejection.isOut(0));
  t.ok(ejection.failed(0, always));
});

t.test('what comes in while it is out says nothing new', async (t) => {
  const ejection = new Ejection(settings);
  failThrice(ejection, 0);
  t.notOk(failThrice(ejection, 50));
  t.notOk(ejection.failed(100, always), 'it is the first failure since');
});
