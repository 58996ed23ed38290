/** Connections are counted in all and per address, and a place given back can be taken again. */
import t from 'tap';
import { type Address, parseAddress } from '../../gateway/core/address.ts';
import { ConnectionLimits } from '../../gateway/edge/connection-limits.ts';

function address(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(text);
  return parsed;
}

t.test('one address has its cap, and another is not touched by it', async (t) => {
  const limits = new ConnectionLimits();
  const caps = { connections: 10, connectionsPerAddress: 2 };
  t.equal(limits.hold(address('192.0.2.1'), caps), true);
  t.equal(limits.hold(address('192.0.2.1'), caps), true);
  t.equal(limits.hold(address('192.0.2.1'), caps), false);
  t.equal(limits.hold(address('192.0.2.2'), caps), true);
  limits.letGo(address('192.0.2.1'));
  t.equal(limits.hold(address('192.0.2.1'), caps), true);
});

t.test('the cap on all connections holds whoever comes', async (t) => {
  const limits = new ConnectionLimits();
  const caps = { connections: 2, connectionsPerAddress: 2 };
  t.equal(limits.admit(caps), true);
  t.equal(limits.admit(caps), true);
  t.equal(limits.admit(caps), false);
  t.equal(limits.total, 2, 'a refused connection takes no place');
  limits.release();
  t.equal(limits.admit(caps), true);
  t.equal(limits.admit({ connections: 1, connectionsPerAddress: 5 }), false, 'a lower cap after a reload');
});

t.test('addresses of one IPv6 subnet count as one', async (t) => {
  const limits = new ConnectionLimits();
  const caps = { connections: 10, connectionsPerAddress: 1 };
  t.equal(limits.hold(address('2001:db8:1:2::1'), caps), true);
  t.equal(limits.hold(address('2001:db8:1:2:ffff::9'), caps), false);
  t.equal(limits.hold(address('2001:db8:1:3::1'), caps), true);
  t.equal(limits.hold(address('::ffff:192.0.2.1'), caps), true);
  t.equal(limits.hold(address('192.0.2.1'), caps), false, 'IPv4-mapped is IPv4');
});
