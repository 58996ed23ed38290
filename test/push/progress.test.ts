/** An upload is shown as a bar that is redrawn on a terminal, and as a few lines elsewhere. */

import t from 'tap';
import { MIB } from '../../gateway/core/units.ts';
import { createProgress, formatBar, formatBytes, formatLine } from '../../gateway/push/progress.ts';

/** A progress whose clock and screen the test controls. */
function watch(isTerminal: boolean, columns = 80) {
  const written: string[] = [];
  const clock = { ms: 1000 };
  const write = (text: string) => written.push(text);
  const tell = createProgress({ write, isTerminal, columns, nowMs: () => clock.ms });
  return { written, clock, tell };
}

t.test('bytes are shown in a suitable unit', async (t) => {
  const cases: readonly (readonly [bytes: number, text: string])[] = [
    [0, '0 B'],
    [0.4, '0 B'],
    [1, '1 B'],
    [1023, '1023 B'],
    [1023.7, '1.0 KiB'],
    [1024, '1.0 KiB'],
    [1536, '1.5 KiB'],
    [1023.9 * 1024, '1023.9 KiB'],
    [MIB - 1, '1.0 MiB'],
    [MIB, '1.0 MiB'],
    [2.5 * 1024 * MIB, '2.5 GiB'],
    [3 * MIB * MIB, '3.0 TiB'],
    [5000 * MIB * MIB, '5000.0 TiB'],
  ];
  for (const [bytes, text] of cases) t.equal(formatBytes(bytes), text, `${bytes}`);
});

t.test('a line shows share, bytes and rate', async (t) => {
  t.equal(formatLine(MIB, 2 * MIB, 500), ' 50% 1.0 MiB of 2.0 MiB, 2.0 MiB/s');
  t.equal(formatLine(0, 2 * MIB, 0), '  0% 0 B of 2.0 MiB', 'there is no rate before time has passed');
  t.equal(
    formatLine(2 * MIB - 1, 2 * MIB, 0),
    ' 99% 2.0 MiB of 2.0 MiB',
    'it does not show 100 % before the end',
  );
  t.equal(formatLine(0, 0, 10), '100% 0 B of 0 B, 0 B/s', 'nothing to send counts as all sent');
});

t.test('a bar is filled by the share that was sent', async (t) => {
  t.equal(formatBar(0, 100, 0, 60), `[${'.'.repeat(39)}]   0% 0 B of 100 B`);
  t.equal(formatBar(50, 100, 0, 40), `[${'#'.repeat(9)}${'.'.repeat(9)}]  50% 50 B of 100 B`);
  t.equal(
    formatBar(100, 100, 0, 200),
    `[${'#'.repeat(40)}] 100% 100 B of 100 B`,
    'a bar has at most 40 marks',
  );
  t.equal(formatBar(0, 0, 0, 200), `[${'#'.repeat(40)}] 100% 0 B of 0 B`);
});

t.test('a bar is always narrower than the terminal, so that it does not wrap', async (t) => {
  for (let columns = 1; columns <= 120; columns++) {
    const bar = formatBar(123_456_789, 987_654_321, 4321, columns);
    if (bar.length > Math.max(1, columns - 1))
      t.fail(`a bar of ${bar.length} must fit in ${columns} columns`);
  }
  t.equal(formatBar(1, 2, 3, 1).length, 1);
});

t.test('on a terminal the bar is redrawn in place and ends with a line end', async (t) => {
  const { written, clock, tell } = watch(true);
  tell(0, 4 * MIB);
  clock.ms += 1000;
  tell(2 * MIB, 4 * MIB);
  clock.ms += 1000;
  tell(4 * MIB, 4 * MIB);
  t.equal(written.length, 3);
  t.ok(written.every((text) => text.startsWith('\r[')));
  t.match(written[1], / 50% 2\.0 MiB of 4\.0 MiB, 2\.0 MiB\/s/);
  t.match(written[2], /100% 4\.0 MiB of 4\.0 MiB, 2\.0 MiB\/s\n$/);
  t.same(
    written.map((text) => text.endsWith('\n')),
    [false, false, true],
  );
});

t.test('a terminal is redrawn at most every 50 ms, and once more at the end', async (t) => {
  const { written, clock, tell } = watch(true);
  for (let sent = 0; sent < 1000; sent++) {
    tell(sent, 1000);
    clock.ms += 1;
  }
  t.equal(written.length, 20);
  tell(1000, 1000);
  t.equal(written.length, 21);
});

t.test('a shorter bar leaves nothing of a longer one on the screen', async (t) => {
  const { written, clock, tell } = watch(true, 200);
  tell(0, 2 * MIB);
  for (const sent of [1023 * 1024, MIB, 2 * MIB]) {
    clock.ms += 1000;
    tell(sent, 2 * MIB);
  }
  let screen = '';
  const shown = written.map((text) => {
    const drawn = text.replace(/^\r|\n$/g, '');
    screen = drawn + screen.slice(drawn.length);
    return screen.replace(/^.*\] */, '').trimEnd();
  });
  t.same(shown, [
    '0% 0 B of 2.0 MiB',
    '49% 1023.0 KiB of 2.0 MiB, 1023.0 KiB/s',
    '50% 1.0 MiB of 2.0 MiB, 512.0 KiB/s',
    '100% 2.0 MiB of 2.0 MiB, 682.7 KiB/s',
  ]);
});

t.test('elsewhere each quarter is one line', async (t) => {
  const { written, clock, tell } = watch(false);
  for (let sent = 0; sent <= 1000; sent += 10) {
    tell(sent, 1000);
    clock.ms += 10;
  }
  t.same(
    written.map((line) => line.slice(0, 4)),
    [' 25%', ' 50%', ' 75%', '100%'],
  );
  t.ok(written.every((line) => line.endsWith('\n') && !line.includes('\r')));
});

t.test('an upload that skips quarters is reported once', async (t) => {
  const { written, tell } = watch(false);
  tell(0, 10);
  tell(10, 10);
  tell(10, 10);
  t.same(written, ['100% 10 B of 10 B\n']);
});
