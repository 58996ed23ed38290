/** An item expires once, in the first sweep at or after its deadline, unless it was disarmed. */
import t from 'tap';
import { Deadlines, Expiring } from '../../gateway/core/deadlines.ts';

class Item extends Expiring {
  expired = 0;
  readonly #then: () => void;

  constructor(then: () => void = () => undefined) {
    super();
    this.#then = then;
  }

  override expire(): void {
    this.expired += 1;
    this.#then();
  }
}

t.test('an item expires once, in the first sweep at or after its deadline', async (t) => {
  const deadlines = new Deadlines(1000);
  const item = new Item();
  deadlines.arm(item, 50);
  t.equal(deadlines.size, 1);
  deadlines.sweep(1049);
  t.equal(item.expired, 0);
  deadlines.sweep(1050);
  t.equal(item.expired, 1);
  t.equal(deadlines.size, 0);
  deadlines.sweep(9999);
  t.equal(item.expired, 1);
});

t.test('arming again moves the deadline, counted from the last sweep', async (t) => {
  const deadlines = new Deadlines(0);
  const item = new Item();
  deadlines.arm(item, 10);
  deadlines.sweep(9);
  deadlines.arm(item, 10);
  deadlines.sweep(18);
  t.equal(item.expired, 0);
  t.equal(deadlines.nowMs, 18);
  deadlines.sweep(19);
  t.equal(item.expired, 1);
});

t.test('a disarmed item does not expire, even if the sweep is already running', async (t) => {
  const deadlines = new Deadlines(0);
  const second = new Item();
  const first = new Item(() => deadlines.disarm(second));
  deadlines.arm(first, 1);
  deadlines.arm(second, 1);
  deadlines.disarm(new Item());
  deadlines.sweep(1);
  t.equal(first.expired, 1);
  t.equal(second.expired, 0);
});

t.test('an item armed during a sweep waits for a later one', async (t) => {
  const deadlines = new Deadlines(0);
  const later = new Item();
  const again = new Item(() => {
    deadlines.arm(later, 0);
    deadlines.arm(again, 0);
  });
  deadlines.arm(again, 5);
  deadlines.sweep(5);
  t.equal(later.expired, 0);
  t.equal(again.expired, 1);
  deadlines.sweep(6);
  t.equal(later.expired, 1);
  t.equal(again.expired, 2);
});

t.test('time in which nobody swept counts against no item', async (t) => {
  const deadlines = new Deadlines(0, 20);
  const waiting = new Item();
  deadlines.arm(waiting, 30);
  deadlines.sweep(5000);
  t.equal(deadlines.nowMs, 20);
  t.equal(waiting.expired, 0);
  deadlines.sweep(5009);
  t.equal(waiting.expired, 0);
  deadlines.sweep(5010);
  t.equal(waiting.expired, 1);
});

t.test('no item is looked at before one can be due', async (t) => {
  const deadlines = new Deadlines(0);
  const far = new Item();
  const near = new Item();
  let looks = 0;
  let dueMs = 0;
  const get = (): number => {
    looks += 1;
    return dueMs;
  };
  const set = (toMs: number): void => {
    dueMs = toMs;
  };
  Object.defineProperty(far, 'dueMs', { get, set });
  deadlines.arm(far, 1000);
  deadlines.arm(near, 10);
  looks = 0;
  deadlines.sweep(9);
  t.equal(looks, 0);
  deadlines.sweep(10);
  t.equal(near.expired, 1);
  t.ok(looks > 0);
  looks = 0;
  for (let atMs = 11; atMs < 1000; atMs++) deadlines.sweep(atMs);
  t.equal(looks, 0);
  deadlines.arm(near, 0);
  deadlines.sweep(1000);
  t.equal(near.expired, 1 + 1);
  t.equal(far.expired, 1);
  t.equal(deadlines.size, 0);
});

t.test('time goes on between two sweeps, but no further than the longest step', async (t) => {
  const deadlines = new Deadlines(100, 20);
  t.equal(deadlines.timeAt(105), 105);
  t.equal(deadlines.timeAt(60_000), 120);
  t.equal(deadlines.nowMs, 100);
  deadlines.sweep(60_000);
  t.equal(deadlines.timeAt(60_001), 121);
});
