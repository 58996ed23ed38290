/** Tidying frees everything unreachable, and leaves no program the means to tidy by itself. */
import t from 'tap';
import { tidyHeap } from '../gateway/tidy-heap.ts';

t.test('tidying frees what the start left behind', async (t) => {
  const left = new WeakRef({ of: 'a start' });
  // A reference that was just made stays alive until the end of its turn.
  await new Promise((resolve) => setImmediate(resolve));
  tidyHeap();
  t.equal(left.deref(), undefined);
  t.notOk('gc' in globalThis);
});
