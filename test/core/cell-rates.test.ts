/** A rate may be used at once and comes back evenly; what is given back can be used again. */
import t from 'tap';
import { CellRates } from '../../gateway/core/cell-rates.ts';

const rate = { count: 10, perMs: 1000 };

t.test('an amount is refused exactly as long as it does not fit', async (t) => {
  const rates = new CellRates(10);
  t.equal(rates.waitMs('a', rate, 10, 5000), 0, 'all of it at once');
  rates.take('a', rate, 10, 5000);
  t.equal(rates.waitMs('a', rate, 1, 5000), 100);
  t.equal(rates.waitMs('a', rate, 5, 5000), 500);
  t.equal(rates.waitMs('a', rate, 5, 5499), 1);
  t.equal(rates.waitMs('a', rate, 5, 5500), 0);
  t.equal(rates.waitMs('b', rate, 10, 5000), 0, 'another holder');
  t.ok(rates.waitMs('c', rate, 11, 5000) > 0, 'more than there ever is');
});

t.test('more may be taken than there is, and is waited for', async (t) => {
  const rates = new CellRates(10);
  rates.take('a', rate, 25, 0);
  t.equal(rates.waitMs('a', rate, 0, 0), 1500);
  t.equal(rates.waitMs('a', rate, 0, 1500), 0);
});

t.test('what is given back is there again, and never more than the whole', async (t) => {
  const rates = new CellRates(10);
  rates.take('a', rate, 10, 0);
  rates.take('a', rate, -4, 0);
  t.equal(rates.waitMs('a', rate, 4, 0), 0);
  t.equal(rates.waitMs('a', rate, 5, 0), 100);
  rates.take('a', rate, -100, 0);
  t.equal(rates.size, 0, 'nothing is remembered of it');
  t.equal(rates.waitMs('a', rate, 11, 0), 100);
});

t.test('what is remembered is bounded: who was seen longest ago makes room', async (t) => {
  const rates = new CellRates(2);
  for (const holder of ['a', 'b', 'a', 'c']) rates.take(holder, rate, 1, 0);
  t.equal(rates.size, 2);
  t.equal(rates.waitMs('b', rate, 10, 0), 0, 'forgotten');
  t.ok(rates.waitMs('a', rate, 10, 0) > 0);
});
