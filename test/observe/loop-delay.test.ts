/** The delay of a timer is kept long enough to be seen, and no longer. */
import t from 'tap';
import { LoopDelay } from '../../gateway/observe/loop-delay.ts';

t.test('the longest delay is kept for 30 to 60 seconds', async (t) => {
  const delay = new LoopDelay(50, 0);
  let nowMs = 0;
  const turns = (count: number, everyMs = 50): void => {
    for (let turn = 0; turn < count; turn += 1) {
      nowMs += everyMs;
      delay.turn(nowMs);
    }
  };
  turns(100);
  t.equal(delay.longestSeconds, 0);
  turns(1, 750);
  turns(1, 150);
  t.equal(delay.longestSeconds, 0.7);
  turns(590);
  t.equal(delay.longestSeconds, 0.7, 'a scrape every half minute sees it');
  turns(610);
  t.equal(delay.longestSeconds, 0);
});

t.test('a timer that fires early is not late', async (t) => {
  const delay = new LoopDelay(50, 0);
  delay.turn(49);
  t.equal(delay.longestSeconds, 0);
});
