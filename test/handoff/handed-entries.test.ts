/** A removed entry is forgotten when its turn comes, unless it was announced again by then. */
import t from 'tap';
import { HandedEntries } from '../../gateway/handoff/handed-entries.ts';

const make = (): object => ({});

t.test('an entry that was forgotten is made anew when it comes back', async (t) => {
  const entries = new HandedEntries<object>();
  const first = entries.tell('a', make);
  t.equal(entries.of('a', make), first);
  const forget = entries.leave(['a', 'never there']);
  t.equal(entries.of('a', make), first, 'a policy compiled meanwhile still finds it');
  forget();
  t.not(entries.of('a', make), first);
});

t.test('an entry announced again before its turn stays until it is removed again', async (t) => {
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
