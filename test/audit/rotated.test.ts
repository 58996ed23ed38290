/** Files of an audit log that were put aside are taken in the order of their lines, whatever the clock says. */
import { readdir, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { verifyFiles } from '../../gateway/audit/verify.ts';
import { openLog } from './written.ts';

const LATER = '2099-01-01T000000.000Z';

async function filesBeside(path: string): Promise<readonly string[]> {
  return (await readdir(dirname(path))).sort().map((name) => join(dirname(path), name));
}

/** Four lines, each in a file of its own, put aside by a clock that was set back since. */
async function writtenAhead(t: Test): Promise<string> {
  const path = join(t.testdir({}), 'audit.jsonl');
  const { log, record } = await openLog({ path, rotateAtBytes: 1 });
  for (let number = 1; number <= 4; number++) await record(number);
  await log.close();
  const aside = (await filesBeside(path)).filter((file) => file !== path);
  for (const [index, file] of aside.entries()) await rename(file, `${path}.until.${LATER}-${index}`);
  return path;
}

t.test('of files put aside the oldest go, though the clock was set back', async (t) => {
  const path = await writtenAhead(t);
  const { log, record } = await openLog({ path, rotateAtBytes: 1, keep: 2 });
  for (let number = 5; number <= 8; number++) {
    await record(number);
    const { chains, faults } = await verifyFiles(await filesBeside(path));
    t.same(faults, []);
    t.match(chains, [{ lines: 3, firstSequence: number - 2, head: { sequence: number } }]);
  }
  await log.close();
});

t.test(
  'a restart right behind a rotation goes on from the last line, though the clock was set back',
  async (t) => {
    const path = await writtenAhead(t);
    await rename(path, `${path}.until.2000-01-01T000000.000Z`);
    const { log, record } = await openLog({ path });
    await record(5);
    await log.close();
    const { chains, faults } = await verifyFiles(await filesBeside(path));
    t.same(faults, []);
    t.match(chains, [{ lines: 5, head: { sequence: 5 } }]);
  },
);

t.test('files of a chain that came before go before those of this one', async (t) => {
  const path = await writtenAhead(t);
  await writeFile(path, 'spoiled\n');
  const { log, notes, record } = await openLog({ path, rotateAtBytes: 1, keep: 2 });
  t.match(notes, [/a new chain begins$/]);
  for (let number = 1; number <= 4; number++) await record(number);
  await log.close();
  const kept = (await filesBeside(path)).filter((file) => !file.includes('.damaged.'));
  const { chains, faults } = await verifyFiles(kept);
  t.same(faults, []);
  t.match(chains, [{ lines: 3, firstSequence: 2, head: { sequence: 4 } }]);
  t.equal(chains.length, 1);
});
