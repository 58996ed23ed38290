/** Bytes per parameter, compared with the sizes the format is designed for. */

import { join } from 'node:path';
import t from 'tap';
import { writeSafetensors } from '../../gateway/patch/safetensors.ts';
import { patchModel } from '../../gateway/patch/write.ts';
import { SeededRandom } from './seeded-random.ts';

const parameters = 1_000_000;
const identity = { modelId: 'bert_tiny', baseVersion: 4, targetVersion: 5, epoch: 3 };

/** Megabytes of a whole stream over ten million float32. */
const table = [
  { share: 0.01, runLength: 1, megabytes: 0.529 },
  { share: 0.03, runLength: 1, megabytes: 1.509 },
  { share: 0.1, runLength: 1, megabytes: 5.01 },
  { share: 0.01, runLength: 32, megabytes: 0.431 },
  { share: 0.03, runLength: 32, megabytes: 1.25 },
  { share: 0.1, runLength: 32, megabytes: 4.154 },
];

/** Strictly rising indices, exactly that share of all: single ones anywhere, or runs of one to twice the length. */
function chosen(random: SeededRandom, share: number, runLength: number): Set<number> {
  const indices = new Set<number>();
  while (indices.size < share * parameters) {
    const first = random.below(parameters);
    const length = runLength === 1 ? 1 : 1 + random.below(2 * runLength - 1);
    for (let k = 0; k < length && indices.size < share * parameters; k++)
      indices.add((first + k) % parameters);
  }
  return indices;
}

for (const { share, runLength, megabytes } of table) {
  const how = runLength === 1 ? 'anywhere' : `in runs of about ${runLength}`;
  t.test(`${share * 100} % of float32 changed ${how} takes ${megabytes} MB of ten million`, async (t) => {
    const folder = t.testdir({});
    const [from, to] = [join(folder, 'from'), join(folder, 'to')];
    const data = Buffer.alloc(parameters * 4);
    const tensor = { name: 'w', dtype: 'F32' as const, shape: [1000, 1000], data };
    await writeSafetensors(from, [tensor]);
    for (const index of chosen(new SeededRandom(30), share, runLength)) data.writeFloatLE(1, index * 4);
    await writeSafetensors(to, [tensor]);
    const patch = await patchModel(from, to, identity);
    await patch.close();
    t.equal(patch.changed, share * parameters);
    const ratio = patch.bytes / parameters / (megabytes / 10);
    t.ok(ratio > 0.95 && ratio < 1.05, `${patch.bytes} bytes are ${ratio.toFixed(3)} of the table`);
  });
}
