/** What was found of a head is found once, as long as the same one comes again. */
import t from 'tap';
import type { RawHead } from '../../gateway/http1/head-reader.ts';
import { LastHead } from '../../gateway/http1/last-head.ts';

const head: RawHead = { method: '', target: '', status: 200, major: 1, minor: 1, fields: [] };

t.test('the same head is judged once, another one or another method anew', async (t) => {
  const judged: string[] = [];
  const last = new LastHead((raw, method) => {
    judged.push(`${raw.status} ${method}`);
    return judged.length;
  });
  t.equal(last.find(head, 'GET'), 1);
  t.equal(last.find(head, 'GET'), 1);
  t.equal(last.find(head, 'HEAD'), 2, 'a response to HEAD has no body');
  t.equal(last.find({ ...head }, 'HEAD'), 3);
  t.equal(last.find(head, 'HEAD'), 4);
  t.strictSame(judged, ['200 GET', '200 HEAD', '200 HEAD', '200 HEAD']);
});
