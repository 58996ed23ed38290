/** A patch is applied completely or not at all: cut off, spoiled or without END it makes no file and replaces none. */

import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { applyPatch } from '../../gateway/patch/apply.ts';
import { valueFormats } from '../../gateway/patch/element.ts';
import { copyAsOneFile } from '../../gateway/patch/one-file.ts';
import type { Frame } from '../../gateway/patch/read.ts';
import { openSafetensors } from '../../gateway/patch/safetensors.ts';
import { apply, goodPatch, nothingMade, setBase } from './apply-base.ts';
import { arriving } from './random-model.ts';
import { SeededRandom } from './seeded-random.ts';

t.test('a stream that is cut off anywhere makes no file', async (t) => {
  const base = await setBase(t);
  const before = await readFile(base.basePath);
  const stream = await goodPatch(base);
  const random = new SeededRandom(52);
  const anywhere = Array.from({ length: 60 }, () => random.below(stream.length));
  const edges = [
    0,
    1,
    7,
    8,
    31,
    32,
    151,
    152,
    153,
    stream.length - 121,
    stream.length - 120,
    stream.length - 1,
  ];
  for (const length of [...edges, ...anywhere]) {
    const fault = await apply(base, arriving(stream.subarray(0, length), 100));
    if (fault?.rule !== 'truncated') t.fail(`a stream cut off at ${length} must be truncated`, { fault });
  }
  await nothingMade(t, base, before);
  t.equal(await apply(base, arriving(stream)), undefined, 'the whole stream is applied');
});

t.test('a source that fails makes no file, and its error is passed on', async (t) => {
  const base = await setBase(t);
  const before = await readFile(base.basePath);
  const stream = await goodPatch(base);
  async function* failing(): AsyncGenerator<Buffer> {
    yield stream.subarray(0, stream.length - 100);
    throw new Error('the disk is gone');
  }
  await t.rejects(apply(base, failing()), { message: 'the disk is gone' });
  await nothingMade(t, base, before);
});

t.test('a byte spoiled anywhere makes no file', async (t) => {
  const base = await setBase(t);
  const before = await readFile(base.basePath);
  const stream = await goodPatch(base, 'singles');
  const random = new SeededRandom(53);
  for (let round = 0; round < 60; round++) {
    const spoiled = Buffer.from(stream);
    const at = random.below(stream.length);
    spoiled[at] = (spoiled[at] ?? 0) ^ (1 << random.below(8));
    if ((await apply(base, arriving(spoiled))) === undefined)
      t.fail(`a byte spoiled at ${at} must be refused`);
  }
  await nothingMade(t, base, before);
});

t.test('an existing file is neither replaced nor removed', async (t) => {
  const base = await setBase(t);
  const made = join(base.folder, 'made');
  await writeFile(made, 'mine');
  const stream = await goodPatch(base);
  await t.rejects(apply(base, arriving(stream)), { code: 'EEXIST' });
  t.equal(await readFile(made, 'utf8'), 'mine');
});

t.test('a read-only base gives a writable model', async (t) => {
  const base = await setBase(t);
  await chmod(base.basePath, 0o444);
  t.equal(await apply(base, arriving(await goodPatch(base))), undefined);
  t.ok(await isWritable(join(base.folder, 'made')));
  const copy = join(base.folder, 'copy');
  await copyAsOneFile(base.basePath, copy);
  t.ok(await isWritable(copy), 'a copy of the base is writable too');
  t.notOk(await isWritable(base.basePath), 'the base stays read-only');
});

/** Whether the owner may write it; root may write anything. */
async function isWritable(path: string): Promise<boolean> {
  return ((await stat(path)).mode & 0o200) !== 0;
}

t.test('nothing is made without END, however the frames end', async (t) => {
  const base = await setBase(t);
  const before = await readFile(base.basePath);
  const file = await openSafetensors(base.basePath);
  async function* none(): AsyncGenerator<Frame> {}
  const made = applyPatch(file, none(), join(base.folder, 'made'), { baseVersion: 4 });
  await t.rejects(made, { name: 'PatchFaultError', fault: { rule: 'truncated', frame: 0 } });
  await file.close();
  await nothingMade(t, base, before);
});

t.test('a computed NaN has the same bits on every processor', async (t) => {
  const bits = (['f32', 'f16', 'bf16'] as const).map((kind) => {
    const bytes = Buffer.alloc(4, 0xff);
    // Subtracted while the test runs: the compiler would fold a constant instead of letting the processor compute it.
    const infinity = Number(process.argv.length > 0 ? 'Infinity' : kind);
    valueFormats[kind].write(new DataView(bytes.buffer, bytes.byteOffset, 4), 0, infinity - infinity);
    return bytes.toString('hex', 0, kind === 'f32' ? 4 : 2);
  });
  t.same(bits, ['0000c07f', '007e', 'c07f']);
});
