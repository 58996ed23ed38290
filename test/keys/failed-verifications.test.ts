/** An address that keeps failing must wait; other addresses need not. */
import t from 'tap';
import { FailedVerifications } from '../../gateway/keys/failed-verifications.ts';
import { address } from '../checks/situation.ts';

const a = address('203.0.113.5');

t.test('an address may fail so often at once, and then once per interval', async (t) => {
  const failed = new FailedVerifications({ count: 3, perMs: 3000 });
  for (let each = 0; each < 3; each++) {
    t.equal(failed.waitMs(a, 1000), 0);
    failed.record(a, 1000);
  }
  t.equal(failed.waitMs(a, 1000), 1000);
  t.equal(failed.waitMs(a, 1999), 1);
  t.equal(failed.waitMs(a, 2000), 0);
  failed.record(a, 2000);
  t.equal(failed.waitMs(a, 2000), 1000);
  t.equal(failed.waitMs(a, 60_000), 0);
  t.equal(failed.waitMs(address('203.0.113.6'), 2000), 0, 'another address does not wait');
});

t.test('a caller with IPv6 counts by its network', async (t) => {
  const failed = new FailedVerifications({ count: 1, perMs: 1000 });
  failed.record(address('2001:db8::1'), 0);
  t.equal(failed.waitMs(address('2001:db8::ffff:1'), 0), 1000);
  t.equal(failed.waitMs(address('2001:db8:0:1::1'), 0), 0);
});

t.test('memory is bounded', async (t) => {
  const failed = new FailedVerifications({ count: 1, perMs: 1000 }, 2);
  for (const last of [1, 2, 3]) failed.record(address(`203.0.113.${last}`), 0);
  t.equal(failed.size, 2);
  t.equal(failed.waitMs(address('203.0.113.1'), 0), 0, 'the first address was evicted');
  t.equal(failed.waitMs(address('203.0.113.3'), 0), 1000);
});

t.test('each of several processes allows an address its share of the failures', async (t) => {
  const failed = new FailedVerifications({ count: 3, perMs: 3000 });
  failed.divideAmong(2);
  for (let each = 0; each < 2; each++) {
    t.equal(failed.waitMs(a, 1000), 0);
    failed.record(a, 1000);
  }
  t.equal(failed.waitMs(a, 1000), 1500);
  failed.divideAmong(1);
  t.equal(failed.waitMs(a, 1000), 1000, 'a reload counts from the whole again');
});
