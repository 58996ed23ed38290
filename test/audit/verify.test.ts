/** Verification finds every line of a log that was changed, removed, inserted or moved, and says which line it is. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import t from 'tap';
import { addLine } from '../../gateway/audit/chain.ts';
import { verifyFiles } from '../../gateway/audit/verify.ts';
import { openLog, writtenLog } from './written.ts';

const linesIn = async (path: string): Promise<string[]> =>
  (await readFile(path, 'utf8')).trimEnd().split('\n');

t.test('an untouched log has no faults, and verification says where it ends', async (t) => {
  const path = await writtenLog(t, 5);
  const { chains, faults } = await verifyFiles([path]);
  t.same(faults, []);
  const last = JSON.parse((await linesIn(path)).at(-1) ?? '') as {
    readonly hash: string;
    readonly chain: string;
  };
  t.match(chains, [
    { lines: 5, firstSequence: 1, chain: last.chain, head: { sequence: 5, hash: last.hash } },
  ]);
});

t.test('a flipped bit in any byte is found, at its own line or the next', async (t) => {
  const path = await writtenLog(t, 4);
  const bytes = await readFile(path);
  const file = join(dirname(path), 'changed.jsonl');
  let line = 1;
  for (let at = 0; at < bytes.length; at++) {
    const changed = Buffer.from(bytes);
    changed[at] = (bytes[at] ?? 0) ^ (1 << (at % 8));
    await writeFile(file, changed);
    const { faults } = await verifyFiles([file]);
    const place = Number(/:(\d+): /.exec(faults[0] ?? '')?.[1]);
    if (place !== line) t.fail(`byte ${at} of line ${line} was changed, but verification said: ${faults[0]}`);
    if (bytes[at] === 0x0a) line += 1;
  }
  t.equal(line, 5, `${bytes.length} bytes were changed one by one`);
});

t.test('every line that is removed, doubled or swapped with any other is found', async (t) => {
  const path = await writtenLog(t, 8);
  const lines = await linesIn(path);
  const file = join(dirname(path), 'changed.jsonl');
  const faultsOf = async (changed: readonly string[]): Promise<readonly string[]> => {
    await writeFile(file, changed.map((line) => `${line}\n`).join(''));
    return (await verifyFiles([file])).faults;
  };
  for (let index = 0; index < lines.length; index++) {
    const without = lines.toSpliced(index, 1);
    if (index > 0 && index < lines.length - 1)
      t.match(await faultsOf(without), [
        `${file}:${index + 1}: line ${index + 2} of the chain: lines ${index + 1} to ${index + 1} are missing`,
      ]);
    t.match(await faultsOf(lines.toSpliced(index, 0, lines[index] ?? '')), [
      new RegExp(`:${index + 2}: line ${index + 1} of the chain comes after`),
    ]);
    for (let other = index + 1; other < lines.length; other++) {
      const swapped = lines.with(index, lines[other] ?? '').with(other, lines[index] ?? '');
      t.ok((await faultsOf(swapped)).length > 0, `the swap of ${index} and ${other} is found`);
    }
  }
});

t.test('a forged line with consistent hashes of its own does not fit between two others', async (t) => {
  const path = await writtenLog(t, 4);
  const lines = await linesIn(path);
  const { chain, hash } = JSON.parse(lines[1] ?? '') as { readonly chain: string; readonly hash: string };
  const forged = addLine({ chain, sequence: 2, hash }, '"event":"admitted"').line.trimEnd();
  const file = join(dirname(path), 'forged.jsonl');
  await writeFile(file, `${lines.with(2, forged).join('\n')}\n`);
  t.match(
    (await verifyFiles([file])).faults,
    [/:4: does not follow the previous line/],
    'a forged line in place of another is found',
  );
  await writeFile(file, `${lines.toSpliced(2, 0, forged).join('\n')}\n`);
  t.match(
    (await verifyFiles([file])).faults,
    [/:4: line 3 of the chain comes after line 3/],
    'a forged line that was inserted is found',
  );
});

t.test('a log that was cut at either end is found out only by a hash noted elsewhere', async (t) => {
  const path = await writtenLog(t, 6);
  const lines = await linesIn(path);
  const hashOf = (line = ''): string => (JSON.parse(line) as { readonly hash: string }).hash;
  const file = join(dirname(path), 'cut.jsonl');
  await writeFile(file, `${lines.slice(1, 4).join('\n')}\n`);
  const { chains, faults } = await verifyFiles([file]);
  t.same(faults, []);
  t.match(
    chains,
    [{ firstSequence: 2, head: { sequence: 4 } }],
    'the file alone passes, though it says that there was a line before',
  );
  t.same((await verifyFiles([file], [hashOf(lines[2]), hashOf(lines[5])])).missing, [hashOf(lines[5])]);
  await writeFile(file, '');
  t.same((await verifyFiles([file])).chains, []);
});

t.test('rotated files form one chain with the last, in whatever order they are given', async (t) => {
  const path = await writtenLog(t, 60, 4096);
  const folder = dirname(path);
  const files = (await readdir(folder)).map((name) => join(folder, name)).sort();
  t.ok(files.length > 3, `there are enough files: ${files.length}`);
  for (const given of [files, files.toReversed()]) {
    const { chains, faults } = await verifyFiles(given);
    t.same(faults, []);
    t.match(chains, [{ lines: 60, head: { sequence: 60 } }]);
  }
  const [, second = '', third = ''] = files.filter((file) => file !== path);
  const { faults } = await verifyFiles(files.filter((file) => file !== second));
  t.match(faults, [new RegExp(`^${third}:1: .* are missing$`)]);
  await writeFile(
    second,
    (await linesIn(second))
      .slice(0, -1)
      .map((line) => `${line}\n`)
      .join(''),
  );
  t.match(
    (await verifyFiles(files)).faults,
    [new RegExp(`^${third}:1: .* are missing$`)],
    'a cut end of a file amid the chain is found',
  );
});

t.test('lines of one chain do not fit into another', async (t) => {
  const folder = t.testdir({});
  const [path, other, file] = ['a', 'b', 'c'].map((name) => join(folder, `${name}.jsonl`)) as [
    string,
    string,
    string,
  ];
  for (const each of [path, other]) {
    const { log, record } = await openLog({ path: each });
    for (let number = 1; number <= 3; number++) await record(number);
    await log.close();
  }
  const [lines, others] = [await linesIn(path), await linesIn(other)];
  await writeFile(file, `${lines.with(1, others[1] ?? '').join('\n')}\n`);
  t.match((await verifyFiles([file])).faults, [/:3: line 3 of the chain: lines 2 to 2 are missing/]);
  t.same((await verifyFiles([path, other])).faults, [], 'two whole chains are valid side by side');
});
