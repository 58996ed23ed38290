/** Blanks at both ends of a field value are removed at a cost that depends on the ends alone. */
import t from 'tap';
import { trimBlanks } from '../../gateway/core/blanks.ts';

t.test('only spaces and tabs are removed from both ends', async (t) => {
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

t.test('eight million blanks inside a value are not scanned again and again', async (t) => {
  const inner = `a${' '.repeat(8_000_000)}b`;
  t.ok(trimBlanks(` ${inner} `) === inner);
});
