/** Step 8: what the head says about the body must suit the route. */
import t from 'tap';
import { checkLimits } from '../../gateway/checks/limits.ts';
import type { RequestHead } from '../../gateway/core/facts.ts';
import { UPGRADE_FIELDS } from '../../gateway/http1/websocket.ts';
import { WEIGHT_PATCH_TYPE } from '../../gateway/patch/layout.ts';
import { facts, route } from './situation.ts';

const sized = route('r', { stream: { maxBytes: 100, check: 'header' } });
const patches = route('r', { stream: { format: 'weight-patch', check: 'deep' } });
const judge = (to: typeof sized, head: Partial<RequestHead>) =>
  checkLimits(to, facts({ method: 'PUT', ...head }).head);
const typed = (type: string, framing: RequestHead['framing'] = { kind: 'chunked' }) => ({
  fields: ['Content-Type', type],
  framing,
});

t.test('a body declared too large is refused before it is sent', async (t) => {
  t.equal(judge(sized, { framing: { kind: 'length', length: 100 } }), undefined);
  t.match(judge(sized, { framing: { kind: 'length', length: 101 } }), {
    code: 'body-too-large',
    step: 'limits',
  });
  t.equal(
    judge(sized, { framing: { kind: 'chunked' } }),
    undefined,
    'the size of a chunked body is not known yet',
  );
  t.equal(judge(route('r'), { framing: { kind: 'length', length: 1e15 } }), undefined);
});

t.test('a body larger than the whole byte budget is refused as too large at once', async (t) => {
  const limits = { per: 'subject', bytes: { count: 100, perMs: 1000 }, quotaPolicy: '' } as const;
  const budget = route('r', { limits });
  t.equal(judge(budget, { framing: { kind: 'length', length: 100 } }), undefined);
  t.match(judge(budget, { framing: { kind: 'length', length: 101 } }), {
    code: 'body-too-large',
    rule: 'limits.bytes',
  });
});

t.test('a route for weight patches takes no other media type', async (t) => {
  for (const type of [WEIGHT_PATCH_TYPE, WEIGHT_PATCH_TYPE.toUpperCase(), `${WEIGHT_PATCH_TYPE} ; v=1`]) {
    t.equal(judge(patches, typed(type)), undefined, type);
  }
  for (const type of ['', 'application/octet-stream', `${WEIGHT_PATCH_TYPE}2`, `x,${WEIGHT_PATCH_TYPE}`]) {
    t.match(judge(patches, typed(type)), { code: 'bad-request' }, type);
  }
  t.match(
    judge(patches, { framing: { kind: 'chunked' } }),
    { code: 'bad-request' },
    'a body without a type is refused',
  );
});

t.test('a weight patch needs a body unless the method only reads', async (t) => {
  const none = { kind: 'none' } as const;
  t.match(judge(patches, typed(WEIGHT_PATCH_TYPE, none)), { code: 'bad-request' });
  t.match(judge(patches, { method: 'POST' }), { code: 'bad-request' });
  t.equal(judge(patches, { method: 'HEAD' }), undefined);
  t.match(judge(patches, { method: 'GET', framing: { kind: 'chunked' } }), { code: 'bad-request' });
});

t.test('a route for tunnels takes only handshakes', async (t) => {
  const tunnel = route('r', { upgrade: { protocol: 'websocket', idleMs: 1, lifetimeMs: 1 } });
  t.equal(judge(tunnel, { method: 'GET', fields: UPGRADE_FIELDS }), undefined);
  t.match(judge(tunnel, { method: 'GET' }), { code: 'upgrade-required', step: 'limits', rule: 'upgrade' });
  t.match(judge(tunnel, { method: 'GET', fields: UPGRADE_FIELDS, framing: { kind: 'chunked' } }), {
    code: 'bad-request',
    rule: 'upgrade',
  });
  t.equal(
    judge(route('r'), { method: 'GET', fields: UPGRADE_FIELDS }),
    undefined,
    'a handshake on a route without tunnels is an ordinary request',
  );
});
