/** Safetensors files are read back as written, are aligned, and exist completely or not at all. */

import { open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { type Dtype, dtypeBits, dtypes } from '../../gateway/patch/dtype.ts';
import { openSafetensors, writeSafetensors } from '../../gateway/patch/safetensors.ts';
import { randomTensor } from './random-model.ts';
import { SeededRandom } from './seeded-random.ts';

const names = [
  'b',
  'a.b',
  '10',
  '9',
  '__proto__',
  'constructor',
  'ß',
  'ж',
  '😀',
  '\uffee',
  'with "quotes" \\ \n',
  '',
];

t.test('every type, shape and name that is written is read back', async (t) => {
  const random = new SeededRandom(40);
  const shapes = [[], [0], [8], [2, 3, 4], [1, 2, 1, 2, 1, 2, 1, 2, 1, 2]];
  const tensors = dtypes.flatMap((dtype, k) =>
    shapes
      .filter((shape) => (shape.reduce((a, b) => a * b, 1) * dtypeBits[dtype]) % 8 === 0)
      .map((shape, rank) => randomTensor(random, [`${names[k % names.length]}/${k}.${rank}`, dtype, shape])),
  );
  tensors.push(...names.map((name) => randomTensor(random, [name, 'BF16', [7]])));
  const path = join(t.testdir({}), 'model.safetensors');
  const notes = { format: 'pt', ['__proto__']: 'x', ключ: 'значение' };
  await writeSafetensors(path, tensors, notes);

  const file = await openSafetensors(path);
  t.equal(file.path, path);
  t.same(file.metadata, notes);
  t.equal(file.sizeBytes, (await readFile(path)).length);
  const inOrder = [...tensors].sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
  t.same(
    file.tensors.map(({ name, dtype, shape }) => ({ name, dtype, shape })),
    inOrder.map(({ name, dtype, shape }) => ({ name, dtype, shape })),
    'tensors are in the order of their names in UTF-8',
  );
  for (const [k, tensor] of file.tensors.entries()) {
    const read = await file.read(tensor, 0, tensor.byteLength);
    t.ok(read.equals(inOrder[k]?.data ?? Buffer.alloc(1)), tensor.name);
  }
  await file.close();
});

t.test('any part of a tensor can be read, but nothing beyond its end', async (t) => {
  const random = new SeededRandom(41);
  const tensor = randomTensor(random, ['w', 'F32', [100]]);
  const path = join(t.testdir({}), 'model.safetensors');
  await writeSafetensors(path, [tensor, randomTensor(random, ['x', 'F32', [100]])]);
  const file = await openSafetensors(path);
  const [w] = file.tensors;
  if (w === undefined) throw new Error('the tensor is gone');
  for (let round = 0; round < 50; round++) {
    const start = random.below(401);
    const length = random.below(401 - start);
    t.ok((await file.read(w, start, length)).equals(tensor.data.subarray(start, start + length)));
  }
  for (const [start, length] of [
    [0, 401],
    [400, 1],
    [-1, 1],
    [401, 0],
  ] as const) {
    await t.rejects(file.read(w, start, length), {
      name: 'SafetensorsError',
      reason: 'tensor w ends at byte 400',
    });
  }
  await file.close();
});

t.test('a file that is cut off while open is an error and is not read as zeros', async (t) => {
  const path = join(t.testdir({}), 'model.safetensors');
  await writeSafetensors(path, [randomTensor(new SeededRandom(42), ['w', 'F32', [100]])]);
  const file = await openSafetensors(path);
  const [w] = file.tensors;
  if (w === undefined) throw new Error('the tensor is gone');
  const again = await open(path, 'r+');
  await again.truncate(file.sizeBytes - 1);
  await again.close();
  await t.rejects(file.read(w, 0, 400), { name: 'SafetensorsError', path, reason: 'the file ended early' });
  await file.close();
});

t.test('every tensor is aligned to its width and the data to 8 bytes', async (t) => {
  const random = new SeededRandom(43);
  const mixed: readonly Dtype[] = ['BOOL', 'F64', 'F16', 'I8', 'F32', 'BF16', 'U64', 'U8'];
  const path = join(t.testdir({}), 'model.safetensors');
  for (let round = 0; round < 20; round++) {
    const tensors = mixed.map((dtype) =>
      randomTensor(random, [
        `${random.below(1e9)}`.slice(0, 1 + random.below(8)),
        dtype,
        [1 + random.below(9)],
      ]),
    );
    const unique = [...new Map(tensors.map((tensor) => [tensor.name, tensor])).values()];
    await writeSafetensors(path, unique);
    const file = await openSafetensors(path);
    await file.close();
    const dataAt = Math.min(...file.tensors.map(({ fileOffset }) => fileOffset));
    t.equal(dataAt % 8, 0);
    for (const { dtype, fileOffset } of file.tensors) t.equal((fileOffset * 8) % dtypeBits[dtype], 0, dtype);
  }
});

t.test('the same tensors make the same file, in whatever order they come', async (t) => {
  const random = new SeededRandom(44);
  const tensors = names.map((name, k) => randomTensor(random, [name, k % 2 ? 'F16' : 'F32', [k]]));
  const folder = t.testdir({});
  await writeSafetensors(join(folder, 'one'), tensors, { a: '1', b: '2' });
  await writeSafetensors(join(folder, 'two'), tensors.toReversed(), { b: '2', a: '1' });
  t.ok((await readFile(join(folder, 'one'))).equals(await readFile(join(folder, 'two'))));
});

t.test('a failed write leaves the old file and nothing beside it', async (t) => {
  const folder = t.testdir({});
  const path = join(folder, 'model.safetensors');
  const tensor = randomTensor(new SeededRandom(45), ['w', 'F32', [4]]);
  await writeSafetensors(path, [tensor]);
  const before = await readFile(path);
  const bad = [
    { tensors: [{ ...tensor, shape: [5] }], reason: 'tensor w has 16 bytes, its shape 20' },
    { tensors: [tensor, tensor], reason: 'duplicate or reserved tensor name w' },
    {
      tensors: [{ ...tensor, name: '__metadata__' }],
      reason: 'duplicate or reserved tensor name __metadata__',
    },
    { tensors: [{ ...tensor, name: 'a\udfff' }], reason: 'the name of a tensor is not well-formed Unicode' },
  ];
  for (const { tensors, reason } of bad) {
    await t.rejects(writeSafetensors(path, tensors), { name: 'SafetensorsError', path, reason });
  }
  const nowhere = join(folder, 'missing', 'model.safetensors');
  await t.rejects(writeSafetensors(nowhere, [tensor]), { name: 'SafetensorsError', path: nowhere });
  t.ok((await readFile(path)).equals(before));
  t.same(await readdir(folder), ['model.safetensors']);
});
