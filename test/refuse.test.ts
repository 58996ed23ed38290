/** A refusal tells the caller what was wrong with the request, and nothing about the gateway. */
import t from 'tap';
import { type Denial, type DenialCode, denials, deny } from '../gateway/core/denial.ts';
import { fieldValues } from '../gateway/core/headers.ts';
import { refusal } from '../gateway/refuse.ts';

const context = { requestId: 'id-1', realm: 'tenant-a' };
const answer = (denial: Denial) => refusal(denial, context);
const field = (denial: Denial, name: string) => fieldValues(answer(denial).fields, name);

t.test('the body of a refusal is problem details', async (t) => {
  const { status, body, fields } = answer(deny('token', 'token-expired', 'The token has expired.'));
  t.equal(status, 401);
  t.same(fieldValues(fields, 'content-type'), ['application/problem+json']);
  t.same(fieldValues(fields, 'cache-control'), ['no-store']);
  t.same(JSON.parse(body.toString()), {
    type: 'urn:patchgate:denial:token-expired',
    title: 'The bearer token has expired',
    status: 401,
    detail: 'The token has expired.',
    instance: 'id-1',
    code: 'token-expired',
  });
});

t.test('an extension adds members to the body, and may bring its own status', async (t) => {
  const denial = deny('stream', 'patch-invalid', 'x', {
    status: 409,
    extension: { frame: 3, rule: 'version' },
  });
  t.equal(answer(denial).status, 409);
  t.match(JSON.parse(answer(denial).body.toString()), { status: 409, frame: 3, rule: 'version' });
});

t.test('an extension cannot change what the denial says', async (t) => {
  const extension = { status: 200, code: 'ok', type: 'x', title: 'x', detail: 'x', instance: 'x' };
  t.match(JSON.parse(answer(deny('scope', 'insufficient-scope', 'y', { extension })).body.toString()), {
    status: 403,
    code: 'insufficient-scope',
    detail: 'y',
    instance: 'id-1',
  });
});

t.test('the cause of a denial stays in the log', async (t) => {
  const denial = deny('allowlist', 'address-denied', 'No.', { cause: '10.0.0.0/8 of secret-list' });
  const { body, fields } = answer(denial);
  t.notMatch(body.toString() + fields.join(), /secret|10\.0/);
});

t.test('a challenge says what to bring', async (t) => {
  const challenge = (denial: Denial) => field(denial, 'www-authenticate');
  t.same(challenge(deny('token', 'token-missing', 'x')), ['Bearer realm="tenant-a"']);
  t.same(challenge(deny('token', 'token-invalid', 'It is "bad"\\.')), [
    `Bearer realm="tenant-a", error="invalid_token", error_description="It is 'bad''."`,
  ]);
  t.match(challenge(deny('scope', 'insufficient-scope', 'x', { scope: 'publish' })), [
    /^Bearer realm="tenant-a", error="insufficient_scope", .*scope="publish"$/,
  ]);
  t.match(challenge(deny('claims', 'claim-denied', 'x')), [/error="insufficient_scope"/]);
  t.same(
    challenge(deny('allowlist', 'address-denied', 'x')),
    ['Bearer realm="tenant-a"'],
    'a denial that no token would cure names no error',
  );
  t.match(refusal(deny('token', 'token-missing', 'x'), { requestId: 'i' }).fields, ['Content-Type']);
});

t.test('each status comes with the fields it requires', async (t) => {
  t.same(field(deny('route', 'method-not-allowed', 'x', { allow: ['GET', 'PUT'] }), 'allow'), ['GET, PUT']);
  t.same(field(deny('limits', 'rate-limited', 'x', { retryAfterS: 7 }), 'retry-after'), ['7']);
  for (const code of Object.keys(denials) as DenialCode[]) {
    const { status } = denials[code];
    t.equal(
      field(deny('node', code, 'x'), 'retry-after').length,
      status === 429 || status === 503 ? 1 : 0,
      code,
    );
    t.equal(
      field(deny('token', code, 'x'), 'www-authenticate').length > 0,
      status === 401 || status === 403,
      code,
    );
  }
});

t.test('no text of a request can begin a header field of its own', async (t) => {
  const detail = 'Connection may not name x"\r\nSet-Cookie: a=b\u00e9\u2028.';
  for (const code of ['token-invalid', 'claim-denied'] as const) {
    for (const text of answer(deny('token', code, detail)).fields) t.match(text, /^[ -~]*$/);
  }
  const { fields } = refusal(deny('token', 'token-missing', 'x'), { requestId: 'i', realm: 'a"\r\nb' });
  for (const text of fields) t.match(text, /^[ -~]*$/);
});
