/** What nobody refers to any more is gone after a tidying, and no program can tidy that was not given the means. */
import t from 'tap';
import { tidyHeap } from '../gateway/tidy-heap.ts';

t.test('what a start left is given back', async (t) => {
  const left = new WeakRef({ of: 'a start' });
  // A reference that was just made holds until the end of its turn.
  await new Promise((resolve) => setImmediate(resolve));
  tidyHeap();
  t.equal(left.deref(), undefined);
  t.notOk('gc' in globalThis);
});
