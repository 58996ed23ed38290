/** What the gateway may hold is shared out among its processes. */
import t from 'tap';
import { ownLimits } from '../../gateway/edge/own-limits.ts';
import { policyOf, tenant } from '../checks/situation.ts';

t.test('each process has its part, rounded up, and a reload gives it another', async (t) => {
  let policy = policyOf(tenant([]));
  const limits = {
    ...policy.gateway.limits,
    connections: 5,
    connectionsPerAddress: 1,
    handshakes: 4,
    bufferedBytes: 10,
  };
  const under = (connections: number): void => {
    policy = { ...policy, gateway: { ...policy.gateway, limits: { ...limits, connections } } };
  };
  under(5);
  const own = ownLimits(() => policy, 2);
  t.match(own(), { connections: 3, connectionsPerAddress: 1, handshakes: 2, bufferedBytes: 5 });
  t.equal(own(), own());
  t.equal(own().headBytes, limits.headBytes, 'what one request may have is not shared out');
  under(100);
  t.equal(own().connections, 50);
});
