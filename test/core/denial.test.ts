/** One table gives every refusal its name and status. */
import t from 'tap';
import { type DenialCode, denials, deny, isDenial, statusOf } from '../../gateway/core/denial.ts';

t.test('the table has the promised codes with statuses of the right class', async (t) => {
  for (const [code, { status, fault, title }] of Object.entries(denials)) {
    t.match(code, /^[a-z]+(-[a-z]+)*$/);
    t.ok(fault === 'caller' ? status >= 400 && status < 500 : status >= 500 && status < 600, code);
    t.match(title, /^[A-Z].*[^.]$/, 'a title is a phrase');
  }
  const titles = Object.values(denials).map((row) => row.title);
  t.equal(new Set(titles).size, titles.length, 'no two codes share a title');
});

t.test('a denial has the status of its code unless it brings its own', async (t) => {
  t.equal(statusOf(deny('token', 'token-expired', 'x')), 401);
  t.equal(statusOf(deny('stream', 'patch-invalid', 'x', { status: 409 })), 409);
  for (const code of Object.keys(denials) as DenialCode[]) {
    t.equal(statusOf(deny('head', code, 'x')), denials[code].status, code);
  }
});

t.test('a denial is distinguished from any other value', async (t) => {
  t.ok(isDenial(deny('head', 'bad-request', 'x', { cause: 'y' })));
  for (const value of [undefined, null, 'denial', {}, { kind: 'admission' }, [], 0]) t.notOk(isDenial(value));
});
