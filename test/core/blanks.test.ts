/** Blanks at the ends of a field value go, whatever stands between them, in the time it takes to look at the ends. */
import t from 'tap';
import { trimBlanks } from '../../gateway/core/blanks.ts';

t.test('spaces and tabs go from both ends, and nothing else does', async (t) => {
  for (const [text, wanted] of [
    ['', ''],
    [' ', ''],
    [' \t \t', ''],
    ['a', 'a'],
    [' a b\t', 'a b'],
    ['\t a', 'a'],
    ['a \t', 'a'],
    ['\u00a0a\u00a0', '\u00a0a\u00a0'],
    ['\r\na\n', '\r\na\n'],
  ] as const)
    t.equal(trimBlanks(text), wanted, JSON.stringify(text));
});

t.test('eight million blanks amid a value are not looked at again and again', async (t) => {
  const inner = `a${' '.repeat(8_000_000)}b`;
  t.ok(trimBlanks(` ${inner} `) === inner);
});
