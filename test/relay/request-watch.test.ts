/** What a request says about its node: who is waited for, and one verdict, or a second if the stream breaks off. */
import t from 'tap';
import { Deadlines } from '../../gateway/core/deadlines.ts';
import { type NodeRecord, RequestWatch } from '../../gateway/relay/request-watch.ts';

function watch() {
  const deadlines = new Deadlines(0);
  const told: string[] = [];
  const state = { owed: 0 };
  const record: NodeRecord = {
    entered: () => told.push('entered'),
    owes: (change) => {
      state.owed += change;
    },
    answered: () => told.push('answered'),
    ended: () => told.push('ended'),
    failed: (_, reason) => told.push(`failed: ${reason}`),
    left: () => told.push('left'),
  };
  return { made: new RequestWatch(record, deadlines, 800), deadlines, told, state };
}

t.test('two good requests on one connection are reported one after the other', async (t) => {
  const { made, told, state, deadlines } = watch();
  for (const isMade of [false, true]) {
    made.taken(isMade);
    t.equal(state.owed, 1);
    made.begun(false);
    made.answer(204);
    t.equal(state.owed, 0);
    made.end();
  }
  made.break('closed while idle');
  made.giveUp();
  t.same(told, ['entered', 'answered', 'ended', 'entered', 'answered', 'ended']);
  t.equal(deadlines.size, 0);
});

t.test('a node that is waited for too long has failed once, whatever comes later', async (t) => {
  const { made, told, deadlines } = watch();
  made.taken(false);
  deadlines.sweep(800);
  made.begun(false);
  deadlines.sweep(2000);
  made.answer(200);
  made.end();
  t.same(told, ['entered', 'failed: no answer in time']);
});

t.test('the clock stops while a body flows and after it', async (t) => {
  const { made, told, state, deadlines } = watch();
  made.taken(true);
  made.begun(true);
  t.equal(state.owed, 0);
  deadlines.sweep(10_000);
  made.sentWhole();
  t.equal(state.owed, 1);
  deadlines.sweep(20_000);
  made.answer(201);
  made.end();
  t.same(told, ['entered', 'answered', 'ended']);
});

t.test('an answer amid the body ends the waiting for good', async (t) => {
  const { made, told, state } = watch();
  made.taken(true);
  made.begun(true);
  made.answer(413);
  made.sentWhole();
  t.equal(state.owed, 0);
  made.giveUp();
  t.same(told, ['entered', 'answered']);
});

t.test('statuses from 500 up are failures, even if they end well', async (t) => {
  const { made, told } = watch();
  made.taken(true);
  made.begun(false);
  made.answer(503);
  made.end();
  t.same(told, ['entered', 'failed: status 503']);
});

t.test('a stream that breaks off after its answer has failed after all', async (t) => {
  const { made, told } = watch();
  made.taken(true);
  made.begun(false);
  made.answer(200);
  made.break('ECONNRESET');
  t.same(told, ['entered', 'answered', 'failed: ECONNRESET']);
});

t.test('a request given up, or failed for lack of local sockets, says nothing of the node', async (t) => {
  for (const reason of [undefined, 'EMFILE', 'EADDRNOTAVAIL']) {
    const { made, told, state, deadlines } = watch();
    made.taken(false);
    if (reason === undefined) made.giveUp();
    else made.break(reason);
    t.same(told, ['entered', 'left']);
    t.equal(state.owed, 0);
    t.equal(deadlines.size, 0);
  }
});
