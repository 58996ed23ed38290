/** A rate may be used up at once and refills evenly; returned amounts can be used again. */
import t from 'tap';
import { CellRates } from '../../gateway/core/cell-rates.ts';

const rate = { count: 10, perMs: 1000 };

t.test('an amount is refused exactly as long as it does not fit', async (t) => {
  const rates = new CellRates(10);
  t.equal(rates.waitMs('a', rate, 10, 5000), 0, 'the whole rate may be taken at once');
  rates.take('a', rate, 10, 5000);
  t.equal(rates.waitMs('a', rate, 1, 5000), 100);
  t.equal(rates.waitMs('a', rate, 5, 5000), 500);
  t.equal(rates.waitMs('a', rate, 5, 5499), 1);
  t.equal(rates.waitMs('a', rate, 5, 5500), 0);
  t.equal(rates.waitMs('b', rate, 10, 5000), 0, 'another holder has a rate of its own');
  t.ok(rates.waitMs('c', rate, 11, 5000) > 0, 'more than the rate ever holds must wait');
});

t.test('more may be taken than is left, and the debt is waited for', async (t) => {
  const rates = new CellRates(10);
  rates.take('a', rate, 25, 0);
  t.equal(rates.waitMs('a', rate, 0, 0), 1500);
  t.equal(rates.waitMs('a', rate, 0, 1500), 0);
});

t.test('a returned amount can be used again, but never beyond the whole rate', async (t) => {
  const rates = new CellRates(10);
  rates.take('a', rate, 10, 0);
  rates.take('a', rate, -4, 0);
  t.equal(rates.waitMs('a', rate, 4, 0), 0);
  t.equal(rates.waitMs('a', rate, 5, 0), 100);
  rates.take('a', rate, -100, 0);
  t.equal(rates.size, 0, 'a holder with nothing in use is forgotten');
  t.equal(rates.waitMs('a', rate, 11, 0), 100);
});

t.test('memory is bounded, and the holder seen longest ago is evicted', async (t) => {
  const rates = new CellRates(2);
  for (const holder of ['a', 'b', 'a', 'c']) rates.take(holder, rate, 1, 0);
  t.equal(rates.size, 2);
  t.equal(rates.waitMs('b', rate, 10, 0), 0, 'the evicted holder is forgotten');
  t.ok(rates.waitMs('a', rate, 10, 0) > 0);
});

t.test('half a million holders in turn, known or new, cost no more each than a few do', async (t) => {
  const many = 500_000;
  const rates = new CellRates(many);
  const takeInTurn = (first: number): void => {
    for (let each = 0; each < many; each++) rates.take(String(first + each), rate, 1, 0);
  };
  takeInTurn(0);
  takeInTurn(0);
  t.equal(rates.size, many, 'known holders need no room');
  takeInTurn(many);
  t.equal(rates.waitMs(String(many - 1), rate, 10, 0), 0, 'old holders are evicted for new ones');
  t.ok(rates.waitMs(String(2 * many - 1), rate, 10, 0) > 0);
});

t.test('what is left is whole, and never more than there is', async (t) => {
  for (const count of [3.5, 10, 20 * 2 ** 30, 2 ** 40, 2 ** 40 / 3, 999_999_999_999_999])
    for (const perMs of [1000, 86_400_000]) {
      const rates = new CellRates(1);
      t.equal(rates.left('a', { count, perMs }, 123_456.789), Math.floor(count));
      rates.take('a', { count, perMs }, 1, 123_456.789);
      t.ok(rates.left('a', { count, perMs }, 123_456.789) <= count);
    }
});

t.test('a rate admits at once exactly its count, however its parts are rounded', async (t) => {
  const nowMs = 123_456.789;
  const wrong: string[] = [];
  for (const perMs of [1000, 60_000, 86_400_000]) {
    for (let count = 1; count <= 300; count++) {
      const rates = new CellRates(1);
      const each = { count, perMs };
      let passed = 0;
      while (passed <= count && rates.waitMs('a', each, 1, nowMs) === 0) {
        if (rates.left('a', each, nowMs) !== count - passed) wrong.push(`left of ${count}/${perMs}ms`);
        rates.take('a', each, 1, nowMs);
        passed += 1;
      }
      if (passed !== count) wrong.push(`${passed} of ${count}/${perMs}ms`);
    }
  }
  t.same(wrong, []);
});
