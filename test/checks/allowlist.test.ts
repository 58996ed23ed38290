/** Step 3: deny wins, and both the tenant and the route must allow. */
import t from 'tap';
import { checkAllowlist } from '../../gateway/checks/allowlist.ts';
import type { AddressRules } from '../../gateway/policy/policy.ts';
import { address, addressRules, route, tenant } from './situation.ts';

const judge = (text: string, addresses: AddressRules, narrowed?: AddressRules) =>
  checkAllowlist(tenant([], { addresses }), route('r', narrowed && { addresses: narrowed }), address(text));

t.test('without lists everybody may call, and with an empty allow list nobody may', async (t) => {
  t.equal(judge('203.0.113.5', {}), undefined);
  t.match(judge('203.0.113.5', addressRules([])), { code: 'address-denied', step: 'allowlist' });
});

t.test('only an address on the allow list may call', async (t) => {
  const rules = addressRules(['203.0.113.0/24', '2001:db8::/32']);
  t.equal(judge('203.0.113.5', rules), undefined);
  t.equal(judge('2001:db8::1', rules), undefined);
  t.equal(judge('::ffff:203.0.113.5', rules), undefined);
  for (const text of ['203.0.114.0', '2001:db9::', '::cb00:7105']) {
    t.match(judge(text, rules), { code: 'address-denied' }, text);
  }
});

t.test('deny wins over a longer allow prefix', async (t) => {
  const rules = addressRules(['203.0.113.5/32'], ['203.0.113.0/24']);
  t.match(judge('203.0.113.5', rules), {
    code: 'address-denied',
    cause: /203\.0\.113\.0\/24.*deny-list.*a\.yaml:7/,
  });
  t.equal(judge('198.51.100.1', addressRules(undefined, ['203.0.113.0/24'])), undefined);
});

t.test('a route narrows the list of its tenant and never widens it', async (t) => {
  const wide = addressRules(['203.0.113.0/24']);
  const narrow = addressRules(['203.0.113.5/32', '198.51.100.0/24']);
  t.equal(judge('203.0.113.5', wide, narrow), undefined);
  t.match(judge('203.0.113.6', wide, narrow), { code: 'address-denied' });
  t.match(judge('198.51.100.1', wide, narrow), { code: 'address-denied' });
});

t.test('the caller is told nothing about lists', async (t) => {
  const denial = judge('203.0.113.5', addressRules([], ['203.0.113.0/24']));
  t.notMatch(denial?.detail, /203|deny-list|yaml/);
});
