/** What is gone is forgotten when its turn comes, and not when it was told of again by then. */
import t from 'tap';
import { HandedEntries } from '../../gateway/handoff/handed-entries.ts';

const make = (): object => ({});

t.test('what is gone is another one when it comes back', async (t) => {
  const entries = new HandedEntries<object>();
  const first = entries.tell('a', make);
  t.equal(entries.of('a', make), first);
  const forget = entries.leave(['a', 'never there']);
  t.equal(entries.of('a', make), first, 'whoever is compiled meanwhile still finds it');
  forget();
  t.not(entries.of('a', make), first);
});

t.test('what is told of again before its turn came stays, until it is gone again', async (t) => {
  const entries = new HandedEntries<object>();
  const first = entries.tell('a', make);
  const other = entries.tell('b', make);
  const forget = entries.leave(['a', 'b']);
  entries.tell('a', make);
  const forgetAgain = entries.leave(['a']);
  forget();
  t.equal(entries.of('a', make), first);
  t.not(entries.of('b', make), other);
  forgetAgain();
  t.not(entries.of('a', make), first);
});
