/** Connections are counted in total and per address, and a released place can be taken again. */
import t from 'tap';
import { type Address, parseAddress } from '../../gateway/core/address.ts';
import { ConnectionLimits } from '../../gateway/edge/connection-limits.ts';

function address(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(text);
  return parsed;
}

t.test('each address has a cap of its own', async (t) => {
  const limits = new ConnectionLimits();
  const caps = { connections: 10, connectionsPerAddress: 2 };
  t.equal(limits.hold(address('192.0.2.1'), caps), true);
  t.equal(limits.hold(address('192.0.2.1'), caps), true);
  t.equal(limits.hold(address('192.0.2.1'), caps), false);
  t.equal(limits.hold(address('192.0.2.2'), caps), true);
  limits.letGo(address('192.0.2.1'));
  t.equal(limits.hold(address('192.0.2.1'), caps), true);
});

t.test('the cap on all connections holds whoever connects', async (t) => {
  const limits = new ConnectionLimits();
  const caps = { connections: 2, connectionsPerAddress: 2 };
  t.equal(limits.admit(caps), true);
  t.equal(limits.admit(caps), true);
  t.equal(limits.admit(caps), false);
  t.equal(limits.total, 2, 'a refused connection takes no place');
  limits.release();
  t.equal(limits.admit(caps), true);
  t.equal(
    limits.admit({ connections: 1, connectionsPerAddress: 5 }),
    false,
    'a lower cap after a reload is enforced',
  );
});

t.test('addresses of one IPv6 subnet count as one', async (t) => {
  const limits = new ConnectionLimits();
  const caps = { connections: 10, connectionsPerAddress: 1 };
  t.equal(limits.hold(address('2001:db8:1:2::1'), caps), true);
  t.equal(limits.hold(address('2001:db8:1:2:ffff::9'), caps), false);
  t.equal(limits.hold(address('2001:db8:1:3::1'), caps), true);
  t.equal(limits.hold(address('::ffff:192.0.2.1'), caps), true);
  t.equal(
    limits.hold(address('192.0.2.1'), caps),
    false,
    'an IPv4-mapped address counts as its IPv4 address',
  );
});
