/** Models larger than memory are read, compared, copied and written in pieces. */

import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { MIB } from '../../gateway/core/units.ts';
import { writeSafetensors } from '../../gateway/patch/safetensors.ts';
import { SeededRandom } from './seeded-random.ts';
import type { SparseRun } from './sparse-model.ts';

t.test('a model larger than the memory of the process is patched, and its holes stay holes', async (t) => {
  const script = new URL('sparse-model.ts', import.meta.url).pathname;
  const words = [script, t.testdir({}), String(384 * MIB)];
  const { stdout } = await promisify(execFile)(process.execPath, words);
  const run: SparseRun = JSON.parse(stdout);
  t.match(run, { changed: 1000, isTarget: true });
  t.ok(run.modelBytes > 384 * MIB);
  t.ok(
    run.peakResidentBytes < 256 * MIB,
    `at most ${Math.round(run.peakResidentBytes / MIB)} MiB were resident`,
  );
  t.ok(run.patchBytes < 10_000, `the patch has ${run.patchBytes} bytes`);
});

t.test('a tensor written in pieces of any size gives the same file as in one piece', async (t) => {
  const random = new SeededRandom(80);
  const data = random.bytes(4000);
  async function* pieces(length: number) {
    for (let at = 0; at < length; at += 333) yield data.subarray(at, Math.min(at + 333, length));
  }
  const folder = t.testdir({});
  const [whole, inPieces] = [join(folder, 'whole'), join(folder, 'pieces')];
  const other = { name: 'a', dtype: 'I64' as const, shape: [2], data: random.bytes(16) };
  const tensor = { name: 'w', dtype: 'F32' as const, shape: [10, 100] };
  await writeSafetensors(whole, [{ ...tensor, data }, other]);
  await writeSafetensors(inPieces, [{ ...tensor, data: pieces(4000) }, other]);
  t.same(await readFile(inPieces), await readFile(whole));
  for (const length of [3999, 0]) {
    await t.rejects(writeSafetensors(join(folder, 'short'), [{ ...tensor, data: pieces(length) }]), {
      name: 'SafetensorsError',
      message: new RegExp(`tensor w has ${length} bytes, its shape 4000`),
    });
  }
  await t.rejects(readFile(join(folder, 'short')), { code: 'ENOENT' });
});
