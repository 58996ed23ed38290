/** A text that is not JSON is no exception: it may come from anyone. */
import t from 'tap';
import { parseJson } from '../../gateway/core/json-value.ts';

t.test('JSON becomes its value', async (t) => {
  for (const value of [null, true, 1.5, '', 'a"b', [], [1, 'b'], {}, { a: { b: [] } }]) {
    t.same(parseJson(JSON.stringify(value)), value);
  }
});

t.test('anything else is undefined', async (t) => {
  for (const text of ['', ' ', 'undefined', '{', '{"a":1,}', "{'a':1}", '1 2', 'NaN', '<html>']) {
    t.equal(parseJson(text), undefined, JSON.stringify(text));
  }
});
