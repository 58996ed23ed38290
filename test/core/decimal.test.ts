/** A number is read in one way only: gateway and node must not see two in the same text. */
import t from 'tap';
import { parseDecimal } from '../../gateway/core/decimal.ts';

t.test('decimal digits are a number', async (t) => {
  for (const [text, wanted] of [
    ['0', 0],
    ['7', 7],
    ['10', 10],
    ['999999999999999', 999_999_999_999_999],
  ] as const) {
    t.equal(parseDecimal(text), wanted, text);
  }
});

t.test('any other text is none', async (t) => {
  const others = [
    '',
    ' 1',
    '1 ',
    '1\n',
    '+1',
    '-1',
    '-0',
    '00',
    '01',
    '1.0',
    '1e3',
    '0x1',
    '1,1',
    '1_0',
    '١',
  ];
  for (const text of [...others, '1000000000000000', 'NaN']) {
    t.equal(parseDecimal(text), undefined, JSON.stringify(text));
  }
});
