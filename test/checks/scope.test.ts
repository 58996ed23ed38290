/** Step 6: the token needs the scope of the route, for the model of the path. */
import t from 'tap';
import { checkScope } from '../../gateway/checks/scope.ts';
import { parseScopes } from '../../gateway/core/scope.ts';
import type { VerifiedToken } from '../../gateway/keys/token-memory.ts';
import { scopeFinetune, tenant } from './situation.ts';

const tokenOf = (scope: string): VerifiedToken => ({
  issuer: 'main',
  subject: 's',
  grants: parseScopes(scope),
  keysVersion: 1,
  maxEpochs: 100,
  expMs: 0,
  nbfMs: 0,
  claims: {},
});
const judge = (scope: string, model?: string) => checkScope(tenant([]), scopeFinetune, tokenOf(scope), model);

t.test('the scope of the route passes, alone or for this model', async (t) => {
  for (const scope of ['finetune', 'finetune:m_1', 'train:m_1', 'read finetune'])
    t.equal(judge(scope, 'm_1'), undefined);
});

t.test('any other scope is insufficient, and the denial names the one that is needed', async (t) => {
  for (const scope of [
    '',
    'read',
    'publish',
    'finetune:m_2',
    'finetune:m_',
    'finetunes',
    'train',
    'FINETUNE',
  ]) {
    t.match(judge(scope, 'm_1'), { code: 'insufficient-scope', step: 'scope', scope: 'finetune' }, scope);
  }
  t.match(
    judge('finetune:m_1'),
    { code: 'insufficient-scope' },
    'a scope for one model does not cover a path without a model',
  );
});
