/** Whatever a token holds and wherever it is altered, the outcome is a verdict, never an error and never a wrong pass. */
import t from 'tap';
import { checkToken } from '../../gateway/checks/token.ts';
import { isDenial } from '../../gateway/core/denial.ts';
import { FailedVerifications } from '../../gateway/keys/failed-verifications.ts';
import {
  bearer,
  certificate,
  claims,
  facts,
  scopeFinetune,
  sign,
  signClaims,
  tenant,
  thumbprint,
} from './situation.ts';

const unlimited = tenant([], { failedTokens: new FailedVerifications({ count: 1_000_000, perMs: 1000 }) });

/** The code of the denial, or `ok`. */
async function outcome(token: string): Promise<string> {
  const given = facts({ fields: bearer(token) });
  const found = await checkToken(unlimited, scopeFinetune, given, {
    address: given.connection.peer,
    certificate,
  });
  return isDenial(found) ? found.code : 'ok';
}

t.test('a claim of any JSON type under any name leads to a verdict, never to an error', async (t) => {
  const values: readonly unknown[] = [
    ...[null, true, false, 0, -1, 1.5, 1e300, Number.MAX_SAFE_INTEGER, '', 'x', '\ud800', 'x'.repeat(4000)],
    ...[[], [null], [[['x']]], {}, { a: 1 }, { 'x5t#S256': 7 }, { 'x5t#S256': thumbprint, jkt: 'x' }],
  ];
  const names = [
    ...['iss', 'aud', 'sub', 'exp', 'iat', 'nbf', 'jti', 'scope', 'scp', 'cnf'],
    ...['model_id', 'max_epochs', 'target_version', 'team', '__proto__', 'constructor'],
  ];
  const accepted = new Map<string, string[]>();
  for (const name of names) {
    for (const value of values) {
      const payload = JSON.stringify({ ...claims, [name]: undefined }).replace(
        /}$/,
        `,${JSON.stringify(name)}:${JSON.stringify(value)}}`,
      );
      const verdict = await outcome(await sign(payload));
      const shown = JSON.stringify(value).slice(0, 4);
      if (verdict === 'ok') accepted.set(name, [...(accepted.get(name) ?? []), shown]);
      else t.match(verdict, /^token-/, `${name}: ${shown}`);
    }
  }
  // These grant nothing whatever they hold, or are looked at by later steps.
  for (const free of ['scope', 'scp', 'team', '__proto__', 'constructor']) {
    t.equal(accepted.get(free)?.length, values.length, free);
    accepted.delete(free);
  }
  const versions = ['0', '9007'];
  t.same(
    accepted,
    new Map([
      ['sub', ['"x"', '"xxx']],
      ['nbf', ['0']],
      ['jti', ['"x"', '"xxx']],
      ['model_id', ['"x"', '"xxx']],
      ['max_epochs', versions],
      ['target_version', versions],
    ]),
  );
});

t.test('a token with any one bit flipped is refused', async (t) => {
  const token = Buffer.from(await signClaims());
  const passed: string[] = [];
  for (let bit = 0; bit < token.length * 8; bit++) {
    const flipped = Buffer.from(token);
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    if ((await outcome(flipped.toString('latin1'))) === 'ok') passed.push(`bit ${bit}`);
  }
  t.same(passed, []);
});
