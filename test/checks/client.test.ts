/** Step 2: the client is the peer, or whoever a trusted proxy speaks for. */
import t from 'tap';
import { checkClient } from '../../gateway/checks/client.ts';
import { address, facts, policyOf, tenant } from './situation.ts';

const policy = policyOf(tenant([]));
const rfc7239 = policyOf(tenant([]), { forwardedHeader: 'forwarded' });
const proxy = { peer: address('10.0.0.5') };

t.test('an untrusted peer is the client, whatever its headers say', async (t) => {
  const fields = ['X-Forwarded-For', 'no address', 'Forwarded', 'for=6.6.6.6'];
  t.match(checkClient(policy, facts({ fields })), { address: { text: '203.0.113.5' }, hops: [] });
});

t.test('a trusted proxy is believed, but only in the header the listener names', async (t) => {
  const fields = [
    'X-Forwarded-For',
    '1.1.1.1',
    'Forwarded',
    'for=2.2.2.2',
    'x-forwarded-for',
    '3.3.3.3, 10.0.0.9',
  ];
  t.match(checkClient(policy, facts({ fields }, proxy)), { address: { text: '3.3.3.3' } });
  t.match(checkClient(rfc7239, facts({ fields }, proxy)), { address: { text: '2.2.2.2' } });
  t.match(checkClient(rfc7239, facts({ fields: fields.slice(0, 2) }, proxy)), {
    address: { text: '10.0.0.5' },
  });
});

t.test('an unreadable header from a trusted proxy is refused', async (t) => {
  const fields = ['X-Forwarded-For', '203.0.113.5, unknown'];
  t.match(checkClient(policy, facts({ fields }, proxy)), {
    code: 'bad-forwarding',
    step: 'client',
    detail: /\w\.$/,
  });
  t.match(checkClient(rfc7239, facts({ fields: ['Forwarded', 'for'] }, proxy)), { code: 'bad-forwarding' });
});
