/** The breaker opens by the share of failures, rests, and is closed by one trial request. */
import t, { type Test } from 'tap';
import { type BreakerState, BreakerWindows, NodeBreaker } from '../../gateway/relay/node-breaker.ts';
import { sleep } from '../path/stage.ts';

const settings = {
  timeoutMs: 800,
  errorThreshold: 50,
  minimumRequests: 4,
  sleepWindowMs: 30,
  maxConcurrent: 20,
};

function breaker(t: Test, more: Partial<typeof settings> = {}) {
  const windows = new BreakerWindows();
  const states: BreakerState[] = [];
  const made = new NodeBreaker({ ...settings, ...more }, windows, (state) => states.push(state));
  t.teardown(() => {
    made.shutDown();
    windows.close();
  });
  return { made, states };
}

/** Sends a request for each outcome; `+` succeeds, `-` fails. */
async function tell(made: NodeBreaker, outcomes: string): Promise<void> {
  for (const outcome of outcomes) {
    const request = {};
    made.entered(request, 0);
    if (outcome === '+') made.succeeded(request);
    else made.failed(request);
  }
  await sleep(1);
}

async function untilHalfOpen(made: NodeBreaker): Promise<void> {
  while (made.state !== 'half-open') await sleep(5);
}

t.test('a breaker opens at the threshold of failures, but never on few requests', async (t) => {
  for (const [outcomes, state] of [
    ['---', 'closed'],
    ['----', 'open'],
    ['++--', 'open'],
    ['+++--', 'closed'],
    ['+++---', 'open'],
    ['----------'.replaceAll('-', '+'), 'closed'],
  ] as const) {
    const { made } = breaker(t);
    await tell(made, outcomes);
    t.equal(made.state, state, outcomes);
    t.equal(made.admits(0), state === 'closed');
  }
});

t.test('a breaker with a threshold of 100 % opens when all have failed', async (t) => {
  const { made } = breaker(t, { errorThreshold: 100 });
  await tell(made, '+----');
  t.equal(made.state, 'closed');
  const all = breaker(t, { errorThreshold: 100 }).made;
  await tell(all, '----');
  t.equal(all.state, 'open');
});

t.test('a breaker is open before the report of the last failure returns', async (t) => {
  const { made } = breaker(t, { sleepWindowMs: 60_000 });
  for (let turn = 0; turn < 4; turn++) made.failed({});
  t.equal(made.state, 'open');
  t.ok(made.restMs > 0 && made.restMs <= 60_000);
});

t.test('a half-open breaker admits one trial, whose success closes it', async (t) => {
  const { made, states } = breaker(t);
  await tell(made, '----');
  await untilHalfOpen(made);
  t.equal(made.restMs, 0);
  t.ok(made.admits(0));
  const trial = {};
  made.entered(trial, 0);
  t.notOk(made.admits(0), 'only one trial is admitted at a time');
  made.succeeded(trial);
  await sleep(1);
  t.equal(made.state, 'closed');
  t.same(states, ['open', 'half-open', 'closed']);
  await tell(made, '---');
  t.equal(made.state, 'closed', 'earlier failures are forgotten');
});

t.test('a failed trial opens the breaker again', async (t) => {
  const { made, states } = breaker(t);
  await tell(made, '----');
  await untilHalfOpen(made);
  await tell(made, '-');
  t.equal(made.state, 'open');
  await untilHalfOpen(made);
  t.same(states, ['open', 'half-open', 'open', 'half-open']);
});

t.test('a trial that its caller broke off does not count, and the next request is the trial', async (t) => {
  const { made } = breaker(t);
  await tell(made, '----');
  await untilHalfOpen(made);
  const trial = {};
  made.entered(trial, 0);
  made.left(trial);
  t.equal(made.state, 'half-open');
  t.ok(made.admits(0));
  await tell(made, '+');
  t.equal(made.state, 'closed');
});

t.test('a trial that is never heard of again gives way after the sleep window', async (t) => {
  const { made } = breaker(t);
  await tell(made, '----');
  await untilHalfOpen(made);
  const hung = {};
  made.entered(hung, 1000);
  t.notOk(made.admits(1029));
  t.ok(made.admits(1030));
  const next = {};
  made.entered(next, 1030);
  made.failed(hung);
  t.equal(made.state, 'half-open', 'it is no longer the trial');
  made.succeeded(next);
  await sleep(1);
  t.equal(made.state, 'closed');
});

t.test('requests sent before the breaker opened neither close nor open it', async (t) => {
  const { made } = breaker(t);
  const [early, late] = [{}, {}];
  made.entered(early, 0);
  made.entered(late, 0);
  await tell(made, '----');
  made.succeeded(early);
  await untilHalfOpen(made);
  made.succeeded(late);
  await sleep(1);
  t.equal(made.state, 'half-open');
});

t.test('a breaker that is shut down leaves no timer', async (t) => {
  const before = timers();
  const windows = new BreakerWindows();
  const some = Array.from({ length: 10 }, () => new NodeBreaker(settings, windows, () => undefined));
  for (const each of some) await tell(each, '----');
  for (const each of some) {
    each.shutDown();
    each.failed({});
  }
  windows.close();
  t.ok(some.every(({ state }) => state === 'closed'));
  t.equal(timers(), before);
  t.equal(windows.turns.listenerCount('rotate'), 0);
});

function timers(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
}
