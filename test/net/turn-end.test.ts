/** What was read in a turn is passed on before anything is written, and each piece of work runs once. */

import t from 'tap';
import { deliverAtTurnEnd, writeAtTurnEnd, writeGathered } from '../../gateway/net/turn-end.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

t.test('deliveries come before writes, also those they add', async (t) => {
  const ran: string[] = [];
  writeAtTurnEnd(() => ran.push('write'));
  deliverAtTurnEnd(() => {
    ran.push('delivery');
    writeAtTurnEnd(() => ran.push('its write'));
    deliverAtTurnEnd(() => ran.push('its delivery'));
  });
  t.same(ran, []);
  await turn();
  t.same(ran, ['delivery', 'its delivery', 'write', 'its write']);
  await turn();
  t.equal(ran.length, 4);
});

t.test('one turn takes one immediate, also if a delivery adds writes', async (t) => {
  const scheduled = t.capture(globalThis, 'setImmediate', setImmediate);
  let wrote = false;
  deliverAtTurnEnd(() =>
    writeAtTurnEnd(() => {
      wrote = true;
    }),
  );
  while (!wrote) await new Promise((resolve) => setTimeout(resolve, 1));
  await new Promise((resolve) => setTimeout(resolve, 5));
  t.equal(scheduled().length, 1);
});

t.test('writes can run before the turn ends, and then do not run again', async (t) => {
  const ran: string[] = [];
  writeAtTurnEnd(() => ran.push('write'));
  deliverAtTurnEnd(() => ran.push('delivery'));
  writeGathered();
  t.same(ran, ['write']);
  await turn();
  t.same(ran, ['write', 'delivery']);
});

t.test('work behind one that throws still runs', async (t) => {
  const ran: string[] = [];
  const thrown = new Promise<unknown>((resolve) => process.once('uncaughtException', resolve));
  writeAtTurnEnd(() => {
    throw new Error('broken');
  });
  writeAtTurnEnd(() => ran.push('write'));
  t.match(await thrown, { message: 'broken' });
  await turn();
  t.same(ran, ['write']);
});
