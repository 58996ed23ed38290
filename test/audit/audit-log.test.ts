/** The audit log on disk: grouping, chains, rotation, and torn, damaged, moved or foreign files and full disks. */
import { appendFile, readdir, readFile, rename, truncate, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import t from 'tap';
import { holdFile } from '../../gateway/audit/hold.ts';
import { verifyFiles } from '../../gateway/audit/verify.ts';
import { until } from '../lists/servers.ts';
import { skipWithoutMount, smallDisk } from './small-disk.ts';
import { entry, openLog, writtenLog } from './written.ts';

const skip = skipWithoutMount();

const whole = async (...files: readonly string[]) => {
  const { chains, faults } = await verifyFiles(files);
  return { faults, lines: chains.map(({ lines }) => lines) };
};

t.test('lines recorded together are synced together, in order', async (t) => {
  const path = join(t.testdir({}), 'audit.jsonl');
  const written: number[] = [];
  const { log, record } = await openLog({ path }, { onLines: (_, lines) => written.push(lines) });
  const settled = Array.from({ length: 100 }, (_, index) => record(index));
  t.ok((await Promise.all(settled)).every(Boolean));
  t.same(written, [100]);
  await log.close();
  const ids = (await readFile(path, 'utf8')).match(/(?<=")r-\d+/g);
  t.same(
    ids,
    Array.from({ length: 100 }, (_, index) => `r-${index}`),
  );
  t.same(await whole(path), { faults: [], lines: [100] });
});

t.test('a value with line ends or terminal control characters stays on one line', async (t) => {
  const path = join(t.testdir({}), 'audit.jsonl');
  const { log } = await openLog({ path });
  const subject = `a\n{"b"}\u2028\u0085\u001b[31m","hash":"${'0'.repeat(64)}"}`;
  log.record({ ...entry(1), subject, path: `/${'x'.repeat(5000)}` });
  await log.close();
  const text = await readFile(path, 'utf8');
  t.equal(text.split('\n').length, 2);
  t.notMatch(text, /[\u0085\u2028\u001b]/);
  t.match(JSON.parse(text), { 'token.sub': subject, 'url.path': /^\/x{2047}$/ });
  t.same(await whole(path), { faults: [], lines: [1] });
});

t.test('a restarted gateway continues the chain', async (t) => {
  const path = await writtenLog(t, 3);
  const { log, notes, record } = await openLog({ path });
  await record(4);
  await log.close();
  t.same(notes, []);
  t.same(await whole(path), { faults: [], lines: [4] });
});

t.test(
  'a torn last line is moved aside whole and reported, and the chain continues from the line before it',
  async (t) => {
    const path = await writtenLog(t, 3);
    const bytes = await readFile(path);
    const lastLine = bytes.lastIndexOf(0x0a, bytes.length - 2) + 1;
    for (const at of [1, 10, bytes.length - lastLine - 1]) {
      await writeFile(path, bytes.subarray(0, lastLine + at));
      const { log, notes, record } = await openLog({ path });
      t.match(notes, [
        new RegExp(`^${at} bytes behind the last whole line stand aside as audit\\.jsonl\\.torn\\.`),
      ]);
      await record(3);
      await log.close();
      const aside = join(dirname(path), notes[0]?.split(' ').at(-1) ?? '');
      t.same(await readFile(aside), bytes.subarray(lastLine, lastLine + at));
      t.same(await whole(path), { faults: [], lines: [3] });
    }
  },
);

t.test('blocks of zeros left behind the last line by a power failure count as torn', async (t) => {
  const path = await writtenLog(t, 3);
  await appendFile(path, Buffer.alloc(9000));
  const { log, notes, record } = await openLog({ path });
  t.match(notes, [/^9000 bytes behind/]);
  await record(4);
  await log.close();
  t.same(await whole(path), { faults: [], lines: [4] });
});

t.test('a log whose very first line is torn begins anew at line 1', async (t) => {
  const path = await writtenLog(t, 1);
  await truncate(path, 20);
  const { log, notes, record } = await openLog({ path });
  t.match(notes, [/^20 bytes/]);
  await record(1);
  await log.close();
  t.same(await whole(path), { faults: [], lines: [1] });
});

t.test('a file that was tampered with is moved aside, and a new chain begins', async (t) => {
  const path = await writtenLog(t, 5);
  const text = await readFile(path, 'utf8');
  const changed = text.replace('"r-3"', '"r-9"');
  await writeFile(path, changed);
  const { log, notes, record } = await openLog({ path });
  t.match(notes, [/^audit\.jsonl is damaged and stands aside as audit\.jsonl\.damaged\./]);
  await record(1);
  await log.close();
  t.same(await whole(path), { faults: [], lines: [1] });
  const aside = (await readdir(dirname(path))).filter((name) => name.includes('.damaged.'));
  t.equal(await readFile(join(dirname(path), aside[0] ?? ''), 'utf8'), changed);
});

t.test('a restart right after a rotation continues the chain of the rotated file', async (t) => {
  const path = await writtenLog(t, 10);
  await rename(path, `${path}.until.2026-11-26T000000.000Z`);
  const { log, record } = await openLog({ path });
  await record(11);
  await log.close();
  t.same(await whole(`${path}.until.2026-11-26T000000.000Z`, path), { faults: [], lines: [11] });
});

t.test('no more rotated files are kept than keep asks for', async (t) => {
  const path = join(t.testdir({}), 'audit.jsonl');
  const { log, record } = await openLog({ path, rotateAtBytes: 4096, keep: 2 });
  for (let number = 0; number < 80; number++) await record(number);
  await log.close();
  const files = (await readdir(dirname(path))).map((name) => join(dirname(path), name));
  t.equal(files.length, 3);
  const { chains, faults } = await verifyFiles(files);
  t.same(faults, []);
  t.match(chains, [{ head: { sequence: 80 } }]);
  t.ok((chains[0]?.firstSequence ?? 0) > 1);
});

t.test(
  'a file that is moved away or emptied while open is replaced by a new one that continues the chain',
  async (t) => {
    const path = join(t.testdir({}), 'audit.jsonl');
    const { log, record } = await openLog({ path });
    await record(1);
    await rename(path, `${path}.moved`);
    t.ok(await record(2));
    t.same(await whole(`${path}.moved`, path), { faults: [], lines: [2] });
    await rename(path, `${path}.moved-2`);
    await writeFile(path, '');
    t.ok(await record(3));
    await log.close();
    t.same(await whole(`${path}.moved`, `${path}.moved-2`, path), { faults: [], lines: [3] });
  },
);

t.test('a file that is moved away just when it is due for rotation is replaced too', async (t) => {
  const path = join(t.testdir({}), 'audit.jsonl');
  const { log, record } = await openLog({ path, rotateAtBytes: 200 });
  t.ok(await record(1));
  await rename(path, `${path}.moved`);
  t.ok(await record(2));
  await log.close();
  t.same(await whole(`${path}.moved`, path), { faults: [], lines: [2] });
});

t.test('nothing is written to a file that someone else writes to until it is moved away', async (t) => {
  const path = join(t.testdir({}), 'audit.jsonl');
  const faults: (string | undefined)[] = [];
  const { log, record } = await openLog({ path }, { onFault: (fault) => faults.push(fault) });
  await record(1);
  await appendFile(path, 'foreign\n');
  t.notOk(await record(2));
  t.match(faults, [/bytes where \d+ were written/]);
  t.match(await readFile(path, 'utf8'), /\nforeign\n$/, 'what is already there is left alone');
  await rename(path, `${path}.foreign`);
  t.ok(await until(() => faults.length === 2), 'the log tries again');
  t.ok(await record(3));
  await log.close();
  t.match(await readFile(path, 'utf8'), /"event":"resumed",.*bytes where .*\n.*"r-3"/);
  t.match(await whole(`${path}.foreign`, path), {
    faults: [/\.foreign:2: line is malformed or was changed after it was written/],
  });
});

t.test(
  'on a full disk required lines are refused, and all others are written once there is room',
  { skip },
  async (t) => {
    const disk = smallDisk(t);
    const path = join(disk.folder, 'audit.jsonl');
    const faults: (string | undefined)[] = [];
    const { log, record } = await openLog({ path }, { onFault: (fault) => faults.push(fault) });
    t.ok(await record(1));
    disk.fill();
    let written = 1;
    while ((await record(written + 1)) && written < 5000) written += 1;
    t.match(faults, [/ENOSPC/]);
    t.same(await whole(path), { faults: [], lines: [written] }, 'no part of a line is left on disk');
    for (let number = 0; number < 10; number++) log.record({ ...entry(number), event: 'ended' });
    t.notOk(await record(0), 'later lines are refused at once');
    disk.empty();
    t.ok(await until(() => faults.length === 2));
    t.ok(await record(9999));
    await log.close();
    t.same(await whole(path), { faults: [], lines: [written + 1 + 10 + 1] });
    t.match(await readFile(path, 'utf8'), /"event":"resumed",.*ENOSPC/);
  },
);

t.test(
  'lines beyond the waiting limit are dropped and counted, and the log states how many',
  { skip },
  async (t) => {
    const disk = smallDisk(t);
    const path = join(disk.folder, 'audit.jsonl');
    let lost = 0;
    const { log, record } = await openLog(
      { path },
      {
        isRequired: false,
        mostWaitingBytes: 10_000,
        onLines: (outcome, lines) => {
          if (outcome === 'lost') lost += lines;
        },
      },
    );
    await record(1);
    disk.fill();
    const count = 2000;
    for (let number = 0; number < count; number++) log.record({ ...entry(number), event: 'ended' });
    t.ok(await until(() => lost > 0));
    disk.empty();
    t.ok(await until(() => readFile(path, 'utf8').then((text) => text.includes('"resumed"'))));
    await log.close();
    const text = await readFile(path, 'utf8');
    t.match(text, new RegExp(`${lost} lines were given up`));
    t.equal(text.match(/"ended"/g)?.length, count - lost);
    t.same((await whole(path)).faults, []);
  },
);

t.test('a file has one holder at a time, and a second one gets a file beside it', async (t) => {
  const path = join(t.testdir({}), 'audit.jsonl');
  const first = await holdFile(path);
  const second = await holdFile(path);
  t.same([basename(first.path), basename(second.path)], ['audit.jsonl', 'audit.jsonl.2']);
  first.release();
  t.equal((await holdFile(path)).path, path);
  second.release();
});
