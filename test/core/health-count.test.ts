/** Several checks in a row change the verdict on a node; the first check decides alone. */
import t from 'tap';
import { HealthCount } from '../../gateway/core/health-count.ts';

/** The verdict after each check: `+` for good, `-` for failed. */
function believed(checks: string, unhealthyAfter = 3, healthyAfter = 2): string {
  const count = new HealthCount({ unhealthyAfter, healthyAfter });
  const after = (check: string): string => {
    count.count(check === '+');
    return count.isWell ? '+' : '-';
  };
  return [...checks].map(after).join('');
}

t.test('a node is healthy at first, and its first check decides alone', async (t) => {
  t.ok(new HealthCount({ unhealthyAfter: 3, healthyAfter: 2 }).isWell);
  t.equal(believed('-'), '-');
  t.equal(believed('+'), '+');
});

t.test('after the first check as many in a row are needed as configured', async (t) => {
  t.equal(believed('+--+---+-++'), '+++++' + '+---' + '-+');
  t.equal(believed('-+-+++'), '----++');
  t.equal(believed('+-+', 1, 1), '+-+');
});

t.test('a change is reported once', async (t) => {
  const count = new HealthCount({ unhealthyAfter: 2, healthyAfter: 1 });
  t.same(
    [true, false, false, false, true, true].map((isGood) => count.count(isGood)),
    [false, false, true, false, true, false],
  );
});
