/** Durations, sizes, rates and shares have one form each; ambiguous numbers are refused. */
import t from 'tap';
import { parseByteRate, parseDuration, parseRate, parseShare, parseSize } from '../../gateway/core/units.ts';

t.test('a duration is a whole number with its unit', async (t) => {
  const rows = { '0s': 0, '800ms': 800, '30s': 30_000, '5m': 300_000, '1h': 3_600_000, '1d': 86_400_000 };
  for (const [text, ms] of Object.entries(rows)) t.equal(parseDuration(text), ms, text);
});

t.test('a size is a whole number with its binary unit', async (t) => {
  const rows = { '0B': 0, '512B': 512, '64KiB': 65_536, '1MiB': 1 << 20, '2GiB': 2 ** 31, '1TiB': 2 ** 40 };
  for (const [text, bytes] of Object.entries(rows)) t.equal(parseSize(text), bytes, text);
});

t.test('a rate is a positive whole number per unit of time', async (t) => {
  t.same(parseRate('100/s'), { count: 100, perMs: 1000 });
  t.same(parseRate('60/m'), { count: 60, perMs: 60_000 });
  t.same(parseRate('1/d'), { count: 1, perMs: 86_400_000 });
  for (const text of ['', '0/s', '1', '1/ms', '/s', '01/s', '1.5/s', '-1/s', '1/s ', '1 /s'])
    t.equal(parseRate(text), undefined, text);
});

t.test('a share is a percentage above 0 and up to 100 %', async (t) => {
  const rows = { '100%': 1, '10%': 0.1, '0.5%': 0.005, '12.25%': 0.1225 };
  for (const [text, share] of Object.entries(rows)) t.equal(parseShare(text), share, text);
  for (const text of [
    '',
    '0%',
    '0.0%',
    '101%',
    '100.1%',
    '1000%',
    '-1%',
    '.5%',
    '5.%',
    '05%',
    '10',
    '0.1',
    '5 %',
    '1e1%',
  ])
    t.equal(parseShare(text), undefined, text);
});

t.test('a byte rate is a positive size per unit of time', async (t) => {
  t.same(parseByteRate('10KiB/s'), { count: 10_240, perMs: 1000 });
  t.same(parseByteRate('20GiB/d'), { count: 20 * 2 ** 30, perMs: 86_400_000 });
  for (const text of ['', '0B/s', '10/s', '10KiB', '10KiB/ms', '10KiB/s/s', '1.5KiB/s', '-1B/s', ' 1B/s'])
    t.equal(parseByteRate(text), undefined, text);
});

t.test('other spellings of durations and sizes are refused', async (t) => {
  const neither = [
    '',
    '5',
    's',
    '05s',
    '+5s',
    '-5s',
    '1.5s',
    '1e3s',
    '5 s',
    ' 5s',
    '5s ',
    '5S',
    '5sec',
    '5s5s',
    '٥s',
  ];
  for (const text of [...neither, '999999999999999d'])
    t.equal(parseDuration(text), undefined, `duration ${text}`);
  for (const text of [...neither, '5K', '5KB', '5kb', '5kib', '9999999TiB'])
    t.equal(parseSize(text), undefined, `size ${text}`);
});
