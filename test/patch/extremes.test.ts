/** Extremes of a stream are accepted where allowed and refused where not, and a name is never a path. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { applyPatch } from '../../gateway/patch/apply.ts';
import { createPatchCheck } from '../../gateway/patch/check.ts';
import { modelDigest } from '../../gateway/patch/digest.ts';
import { PatchFaultError, type PatchFaultRule } from '../../gateway/patch/fault.ts';
import { readPatch } from '../../gateway/patch/read.ts';
import { openSafetensors, writeSafetensors } from '../../gateway/patch/safetensors.ts';
import { check } from './chunked-check.ts';
import { begun, CraftedStream } from './crafted-stream.ts';
import { arriving } from './random-model.ts';

const elementCount = 100;

const extremes: readonly (readonly [title: string, stream: CraftedStream, rule?: PatchFaultRule])[] = [
  ['no tensor at all', new CraftedStream().open({ tensorCount: 0, totalParams: 0 }).end()],
  [
    'an empty tensor',
    new CraftedStream()
      .open()
      .tensor({ shape: [3, 0] })
      .end(),
  ],
  [
    'a patch of an empty tensor',
    new CraftedStream()
      .open()
      .tensor({ shape: [0] })
      .patch({})
      .end(),
    'bounds',
  ],
  ['a scalar', new CraftedStream().open().tensor({ shape: [] }).patch({}).end()],
  [
    'rank 8',
    new CraftedStream()
      .open()
      .tensor({ shape: Array(8).fill(1) })
      .patch({})
      .end(),
  ],
  [
    'rank 9',
    new CraftedStream()
      .open()
      .tensor({ shape: Array(9).fill(1) })
      .end(),
    'bounds',
  ],
  [
    'rank 255',
    new CraftedStream()
      .open()
      .tensor({}, (h) => h.writeUInt8(255, 37))
      .end(),
    'bounds',
  ],
  ['no name', new CraftedStream().open().tensor({ name: '' }).patch({}).end()],
  ['a name with NUL', new CraftedStream().open().tensor({ name: 'a\0b' }).patch({}).end()],
  [
    'a name of dots and slashes',
    new CraftedStream().open().tensor({ name: '../../etc/passwd' }).patch({}).end(),
  ],
  [
    'the last element of 2^53-1',
    new CraftedStream()
      .open({ totalParams: 2 ** 53 - 1 })
      .tensor({ shape: [2 ** 53 - 1] })
      .patch({ firstIndex: 2 ** 53 - 2, lastIndex: 2 ** 53 - 2 })
      .end(),
  ],
  [
    'words of a type that has none',
    new CraftedStream()
      .open()
      .tensor({ words: true, shape: [4] })
      .patch({})
      .end(),
    'encoding',
  ],
  [
    'half an element in words',
    new CraftedStream()
      .open()
      .tensor({ dtype: 'I64', words: true, shape: [3] })
      .end(),
    'bounds',
  ],
  [
    'words in two dimensions',
    new CraftedStream()
      .open()
      .tensor({ dtype: 'I64', words: true, shape: [2, 2] })
      .end(),
    'bounds',
  ],
];

for (const [title, stream, rule] of extremes) {
  t.test(`${title} is ${rule === undefined ? 'accepted' : `refused by rule ${rule}`}`, async (t) => {
    for (const size of [1, 13, 4096]) {
      const { fault, ended } = check(stream.bytes, size);
      t.equal(fault?.rule, rule, `the outcome is the same in chunks of ${size}`);
      t.equal(ended, rule === undefined);
    }
  });
}

t.test('a header that claims 64 KiB is refused by its first 8 bytes', async (t) => {
  const patchCheck = createPatchCheck('deep', {});
  const start = Buffer.from(begun().bytes.subarray(0, 8));
  start.writeUInt16LE(0xfff8, 6);
  t.match(
    patchCheck.accept(start, () => t.fail('nothing is forwarded')),
    { rule: 'header-length', status: 400 },
  );
});

t.test('a tensor name is never a path, and a repeated name is refused', async (t) => {
  const folder = t.testdir({ below: {} });
  const path = join(folder, 'below', 'base');
  const data = Buffer.alloc(elementCount * 4);
  await writeSafetensors(path, [
    { name: '../w', dtype: 'F32', shape: [10, 10], data },
    { name: 'layer.0.w', dtype: 'F32', shape: [10, 10], data },
  ]);
  const before = await readFile(path);
  const file = await openSafetensors(path);
  t.teardown(() => file.close());
  const baseDigest = await modelDigest(file);
  const apply = (stream: CraftedStream): Promise<unknown> =>
    applyPatch(file, readPatch(arriving(stream.bytes)), join(folder, 'below', 'made'), {
      baseVersion: 4,
    }).catch((error: unknown) => {
      if (error instanceof PatchFaultError) return error.fault.rule;
      throw error;
    });
  const open = (tensorCount: number) => new CraftedStream().open({ baseDigest, tensorCount });
  const twice = open(2).tensor().patch({}).tensor({ tensorId: 1 }).patch({ tensorId: 1 }).end();
  t.equal(await apply(twice), 'overlap');
  t.equal(await apply(open(1).tensor({ name: '../../w' }).patch({}).end()), 'tensor');
  t.equal(
    await apply(open(1).tensor({ name: '../w' }).patch({}).end()),
    'digest',
    'the tensor is found, but its digest differs from END',
  );
  t.same(await readdir(folder, { recursive: true }), ['below', 'below/base']);
  t.ok((await readFile(path)).equals(before));
});
