/** A patch that lies with good CRCs makes no file and leaves the base unchanged. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { type ApplyExpectation, applyPatch } from '../../gateway/patch/apply.ts';
import type { PatchFault } from '../../gateway/patch/fault.ts';
import type { OpenFields } from '../../gateway/patch/format.ts';
import { type Frame, readPatch } from '../../gateway/patch/read.ts';
import { openSafetensors } from '../../gateway/patch/safetensors.ts';
import { apply, nothingMade, setBase } from './apply-base.ts';
import { CraftedStream } from './crafted-stream.ts';
import { arriving } from './random-model.ts';

const digestLength = 32;

/** A stream for the base of a test, one tensor of 100 float32, that lies somewhere with good CRCs. */
type Lying = (digest: Buffer) => CraftedStream;

function open(baseDigest: Buffer, more: Partial<OpenFields> = {}): CraftedStream {
  return new CraftedStream().open({ baseDigest, ...more });
}

const lies: readonly (readonly [string, Lying, Partial<ApplyExpectation>, Partial<PatchFault>])[] = [
  [
    'another base version',
    (d) => open(d).tensor().end(),
    { baseVersion: 3 },
    { rule: 'base', status: 409, frame: 0 },
  ],
  [
    'another base digest',
    () => open(Buffer.alloc(digestLength)).tensor().end(),
    {},
    { rule: 'base', frame: 0 },
  ],
  [
    'a base whose remembered digest differs',
    (d) => open(d).tensor().end(),
    { baseDigest: Buffer.alloc(digestLength) },
    { rule: 'base', frame: 0 },
  ],
  ['another model', (d) => open(d).tensor().end(), { modelId: 'bert_large' }, { rule: 'model', status: 403 }],
  [
    'another target version',
    (d) => open(d).tensor().end(),
    { targetVersion: 6 },
    { rule: 'version', status: 403 },
  ],
  ['a later epoch', (d) => open(d).tensor().end(), { maxEpoch: 2 }, { rule: 'epoch', status: 403 }],
  ['too many bytes', (d) => open(d).tensor().end(), { maxBytes: 300 }, { rule: 'stream-size', status: 413 }],
  [
    'a tensor the model has not',
    (d) => open(d).tensor({ name: 'v' }).end(),
    {},
    { rule: 'tensor', frame: 1 },
  ],
  [
    'a tensor of another shape',
    (d) =>
      open(d)
        .tensor({ shape: [100] })
        .end(),
    {},
    { rule: 'tensor', frame: 1 },
  ],
  [
    'a tensor of another type',
    (d) => open(d).tensor({ dtype: 'I32' }).end(),
    {},
    { rule: 'tensor', frame: 1 },
  ],
  [
    'a tensor that claims more elements than the model has',
    (d) =>
      open(d)
        .tensor({ shape: [101] })
        .patch({ firstIndex: 100, lastIndex: 100 })
        .end(),
    {},
    { rule: 'tensor', frame: 1 },
  ],
  [
    'the same tensor twice',
    (d) => open(d, { tensorCount: 2 }).tensor().tensor({ tensorId: 1 }).end(),
    {},
    { rule: 'overlap', frame: 2 },
  ],
  [
    'an element behind the last',
    (d) => open(d).tensor().patch({ firstIndex: 100, lastIndex: 100 }).end(),
    {},
    { rule: 'bounds', frame: 2 },
  ],
  [
    'indices that run over the last',
    (d) => open(d).tensor().patch({ count: 2, firstIndex: 99, lastIndex: 99 }, [0]).end(),
    {},
    { rule: 'bounds', frame: 2 },
  ],
  [
    'indices beyond what the header says',
    (d) => open(d).tensor().patch({ count: 2, firstIndex: 90, lastIndex: 95 }, [50]).end(),
    {},
    { rule: 'indices', frame: 2 },
  ],
  [
    'patches that overlap',
    (d) =>
      open(d).tensor().patch({ firstIndex: 5, lastIndex: 5 }).patch({ firstIndex: 5, lastIndex: 5 }).end(),
    {},
    { rule: 'overlap', frame: 3 },
  ],
  [
    'a target of another digest',
    (d) => open(d).tensor().patch({ firstIndex: 5, lastIndex: 5 }).end(),
    {},
    { rule: 'digest', status: 422, frame: 3 },
  ],
  ['a byte behind END', (d) => open(d).tensor().end().end(), {}, { rule: 'trailing', status: 422 }],
];

for (const [title, lie, expectation, expected] of lies) {
  t.test(`no file is made of a patch with ${title}`, async (t) => {
    const base = await setBase(t);
    const before = await readFile(base.basePath);
    const fault = await apply(base, arriving(lie(base.digest).bytes), expectation);
    t.match(fault, expected);
    await nothingMade(t, base, before);
  });
}

t.test('frames that no check has seen are still checked against the model', async (t) => {
  const base = await setBase(t);
  const before = await readFile(base.basePath);
  const stream = open(base.digest).tensor().patch({ firstIndex: 5, lastIndex: 5 }).end().bytes;
  const frames: Frame[] = [];
  for await (const frame of readPatch(arriving(stream))) frames.push(frame);
  const [first, second, third] = frames;
  if (first === undefined || second === undefined || third?.header.type !== 'patch')
    throw new Error('no frames');
  const headers = [
    { ...third.header, lastIndex: 2 ** 40, firstIndex: 2 ** 40 },
    { ...third.header, lastIndex: 100 },
    { ...third.header, count: 1000 },
    { ...third.header, indexLength: 1 },
    { ...third.header, indices: 'run' as const },
  ];
  for (const header of headers) {
    const file = await openSafetensors(base.basePath);
    async function* lying(): AsyncGenerator<Frame> {
      yield* [first, second, { ...third, header }] as Frame[];
    }
    const made = applyPatch(file, lying(), join(base.folder, 'made'), { baseVersion: 4 });
    await t.rejects(made, { name: 'PatchFaultError' });
    await file.close();
  }
  await nothingMade(t, base, before);
});
