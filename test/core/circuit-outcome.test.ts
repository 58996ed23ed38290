/** A breaker counts a failure before it goes on: the next request must see that it has opened. */
import CircuitBreaker from 'opossum';
import t from 'tap';
import { outcome } from '../../gateway/core/circuit-outcome.ts';

t.test('a failure has opened the breaker when fire returns', async (t) => {
  const circuit = new CircuitBreaker<[boolean], void>(outcome, { errorThresholdPercentage: 1 });
  t.teardown(() => circuit.shutdown());
  circuit.fire(true).catch(() => t.fail('a success is not refused'));
  t.equal(circuit.opened, false);
  const fired = circuit.fire(false);
  t.equal(circuit.opened, true);
  await t.rejects(fired);
});
