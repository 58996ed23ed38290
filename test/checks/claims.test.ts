/** Step 7: a token for one model or one version is valid for no other. */
import t from 'tap';
import { checkClaims } from '../../gateway/checks/claims.ts';
import type { VerifiedToken } from '../../gateway/keys/token-memory.ts';
import type { ClaimTemplate } from '../../gateway/policy/policy.ts';

const tokenOf = (claims: Readonly<Record<string, unknown>>): VerifiedToken => ({
  issuer: 'main',
  subject: 's',
  grants: [],
  keysVersion: 1,
  maxEpochs: 100,
  expMs: 0,
  nbfMs: 0,
  claims,
  ...(typeof claims['model_id'] === 'string' && { modelId: claims['model_id'] }),
  ...(typeof claims['base_version'] === 'number' && { baseVersion: claims['base_version'] }),
  ...(typeof claims['target_version'] === 'number' && { targetVersion: claims['target_version'] }),
});

const judge = (
  claims: Readonly<Record<string, unknown>>,
  asked: Readonly<Record<string, readonly ClaimTemplate[]>>,
  params: Readonly<Record<string, string>> = { model_id: 'm_1', version: '7' },
) => checkClaims({ scope: 'read', claims: new Map(Object.entries(asked)) }, tokenOf(claims), params);

const model = { model_id: [{ param: 'model_id' }] };
const version = { target_version: [{ param: 'version' }] };

t.test('a claim must equal the parameter of the path', async (t) => {
  t.equal(judge({ model_id: 'm_1' }, model), undefined);
  t.equal(judge({ target_version: 7 }, version), undefined, 'a number is compared as its decimal text');
  t.equal(judge({ target_version: '7' }, version), undefined);
  for (const value of ['m_2', 'm_', 'm_11', 'M_1', '*', '', null, true, 7, ['m_1'], { m_1: 1 }]) {
    t.match(
      judge({ model_id: value }, model),
      { code: 'claim-denied', step: 'claims' },
      JSON.stringify(value),
    );
  }
  for (const value of [8, 7.5, '07', '7.0', ' 7', null, [7]]) {
    t.match(judge({ target_version: value }, version), { code: 'claim-denied' }, JSON.stringify(value));
  }
});

t.test('a missing claim or a missing parameter is refused', async (t) => {
  t.match(judge({}, model), { code: 'claim-denied' });
  t.match(judge({ model_id: 'm_1' }, { toString: [{ param: 'model_id' }] }), { code: 'claim-denied' });
  t.match(
    judge({ a: 'x' }, { a: [{ param: 'missing' }] }),
    { code: 'claim-denied' },
    'a missing parameter is refused',
  );
});

t.test('one of several values suffices, and each claim must match', async (t) => {
  const team = { team: [{ literal: 'red' }, { literal: 'blue' }] };
  t.equal(judge({ team: 'blue' }, team), undefined);
  t.match(judge({ team: 'green' }, team), { code: 'claim-denied' });
  t.match(judge({ team: 'red', model_id: 'm_2' }, { ...team, ...model }), { code: 'claim-denied' });
  t.match(judge({ team: 'red' }, { team: [] }), { code: 'claim-denied' });
});

t.test('a token for one model is refused for another, even if the route does not ask', async (t) => {
  t.match(judge({ model_id: 'm_2' }, {}), { code: 'claim-denied' });
  t.match(judge({ model_id: '*' }, {}), { code: 'claim-denied' }, 'a star is no wildcard');
  t.equal(judge({ model_id: 'm_1' }, {}), undefined);
  t.equal(judge({}, {}), undefined);
  t.equal(judge({ model_id: 'm_2' }, {}, {}), undefined, 'a path without a model passes');
});

t.test('a token for one version is refused for another, even if the route does not ask', async (t) => {
  t.match(judge({ target_version: 8 }, {}), { code: 'claim-denied', detail: /target_version/ });
  t.equal(judge({ target_version: 7 }, {}), undefined);
  t.match(judge({ target_version: 7 }, {}, { version: '07' }), { code: 'claim-denied' });
  t.equal(judge({ target_version: 8 }, {}, {}), undefined, 'a path without a version passes');
  t.match(judge({ base_version: 6 }, {}, { base_version: '5' }), {
    code: 'claim-denied',
    detail: /base_version/,
  });
  t.equal(judge({ base_version: 6 }, {}, { base_version: '6' }), undefined);
});

t.test('a required value may match a list entry, a number or a boolean', async (t) => {
  const asked = { region: [{ literal: 'eu' }, { literal: 'us' }] };
  t.equal(judge({ region: ['ap', 'us'] }, asked), undefined);
  t.match(judge({ region: ['ap'] }, asked), { code: 'claim-denied' });
  t.match(
    judge({ region: [['eu']] }, asked),
    { code: 'claim-denied' },
    'an entry of a nested list does not count',
  );
  t.equal(judge({ level: 3 }, { level: [{ literal: '3' }] }), undefined);
  t.equal(judge({ beta: true }, { beta: [{ literal: 'true' }] }), undefined);
  t.match(judge({ beta: null }, { beta: [{ literal: 'null' }] }), { code: 'claim-denied' });
});

t.test('a token may not ask for more epochs than the quota of the route', async (t) => {
  const within = (maxEpochs: number, quota: number) =>
    checkClaims(
      { scope: 'finetune', claims: new Map(), maxEpochs: quota },
      { ...tokenOf({}), maxEpochs },
      {},
    );
  t.equal(within(100, 100), undefined);
  t.match(within(101, 100), { code: 'claim-denied', detail: /max_epochs/ });
  t.match(within(Number.POSITIVE_INFINITY, Number.MAX_SAFE_INTEGER), { code: 'claim-denied' });
});
