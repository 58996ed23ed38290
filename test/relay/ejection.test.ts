/** A node is ejected after consecutive failures, longer each time, and never more nodes than allowed. */
import t from 'tap';
import { Ejection } from '../../gateway/relay/ejection.ts';

const settings = { consecutiveFailures: 3, forMs: 100, maxForMs: 250, maxShare: 50 };
const always = (): boolean => true;

function failThrice(ejection: Ejection, nowMs: number, mayGo = always): boolean {
  return [1, 2, 3].map(() => ejection.failed(nowMs, mayGo)).includes(true);
}

t.test('only consecutive failures eject a node', async (t) => {
  const ejection = new Ejection(settings);
  t.same([ejection.failed(0, always), ejection.failed(0, always)], [false, false]);
  ejection.succeeded();
  t.same([ejection.failed(0, always), ejection.failed(0, always)], [false, false]);
  t.notOk(ejection.isOut(0));
  t.ok(ejection.failed(0, always));
  t.ok(ejection.isOut(99));
  t.notOk(ejection.isOut(100));
});

t.test('each consecutive ejection is longer, up to a bound', async (t) => {
  const ejection = new Ejection(settings);
  let nowMs = 0;
  for (const forMs of [100, 200, 250, 250]) {
    t.ok(failThrice(ejection, nowMs));
    t.equal(ejection.untilMs, nowMs + forMs);
    nowMs = ejection.untilMs + 50;
  }
});

t.test('a node that has served as long as it was out starts afresh', async (t) => {
  const ejection = new Ejection(settings);
  t.ok(failThrice(ejection, 0));
  t.ok(failThrice(ejection, 150));
  t.equal(ejection.untilMs, 350);
  t.ok(failThrice(ejection, 551));
  t.equal(ejection.untilMs, 651);
});

t.test('if too few others are left a node stays until a later failure may eject it', async (t) => {
  const ejection = new Ejection(settings);
  t.notOk(failThrice(ejection, 0, () => false));
  t.notOk(ejection.isOut(0));
  t.ok(ejection.failed(0, always));
});

t.test('outcomes that arrive during an ejection do not count', async (t) => {
  const ejection = new Ejection(settings);
  failThrice(ejection, 0);
  t.notOk(failThrice(ejection, 50));
  t.notOk(ejection.failed(100, always), 'this is the first failure since then');
});
