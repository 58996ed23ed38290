/** The limits of the gateway are shared out among its processes. */
import t from 'tap';
import { ownLimits } from '../../gateway/edge/own-limits.ts';
import { policyOf, tenant } from '../checks/situation.ts';

t.test('each process gets its share of the limits, rounded up, and a reload changes it', async (t) => {
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
  t.equal(own().headBytes, limits.headBytes, 'the limit of a single request is not shared out');
  under(100);
  t.equal(own().connections, 50);
});
