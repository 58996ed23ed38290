/** Whatever a caller sends, its text in a log stays one JSON string on one line. */
import t from 'tap';
import { escapeActive, jsonText, textMember } from '../../gateway/core/json-text.ts';

const HOSTILE = [
  '',
  'plain',
  'a"b\\c',
  'two\nlines',
  '\u001b[2J',
  '\u007f\u0085\u009b',
  '\u2028\u2029',
  'ü€',
];

t.test('text is read back as it was, from printable characters on one line', async (t) => {
  for (const text of HOSTILE) {
    const json = jsonText(text);
    t.equal(JSON.parse(json), text);
    t.notMatch(json, /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/);
  }
});

t.test('of a long text the first 2048 characters are written', async (t) => {
  for (const text of ['a'.repeat(3000), 'ü'.repeat(3000)])
    t.equal(JSON.parse(jsonText(text)), text.slice(0, 2048));
});

t.test('a member stands behind a comma, and an absent one is left out', async (t) => {
  t.equal(textMember('tenant', 'a"b'), ',"tenant":"a\\"b"');
  t.equal(textMember('tenant', undefined), '');
});

t.test('JSON with escapes for active characters has the same value', async (t) => {
  const value = { '\u009b': ['\u2028', '\u007f'], plain: 1 };
  const json = escapeActive(JSON.stringify(value));
  t.equal(json, '{"\\u009b":["\\u2028","\\u007f"],"plain":1}');
  t.same(JSON.parse(json), value);
});
