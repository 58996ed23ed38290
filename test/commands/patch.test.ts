/** `patch inspect` shows people and programs what a patch holds and where it is faulty. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { CraftedStream, goodStream } from '../patch/crafted-stream.ts';
import { runHere } from './here.ts';
import { run } from './process.ts';

async function inspect(t: Test, bytes: Buffer, ...words: string[]) {
  const path = join(t.testdir({}), 'update.wpf');
  await writeFile(path, bytes);
  const { status, out, err } = await runHere('patch', 'inspect', path, ...words);
  return { status, err, out: out.replaceAll(path, 'update.wpf') };
}

t.test('a good patch is described frame by frame, tensor by tensor and in total', async (t) => {
  const { bytes } = goodStream();
  t.match(await inspect(t, bytes, '--frames'), {
    status: 0,
    out: [
      'frame 0 at 0: OPEN, 152 + 0 bytes',
      'frame 1 at 152: TENSOR, 80 + 0 bytes',
      'frame 2 at 232: PATCH, 72 + 16 bytes',
      'frame 3 at 320: PATCH, 72 + 16 bytes',
      'frame 4 at 408: TENSOR, 72 + 0 bytes',
      'frame 5 at 480: PATCH, 72 + 8 bytes',
      'frame 6 at 560: PATCH, 72 + 8 bytes',
      'frame 7 at 640: END, 120 + 0 bytes',
      'update.wpf: 760 bytes, 8 good frames',
      'open    model bert_tiny, version 4 → 5, epoch 3, 1,000 parameters',
      `        stream ${'07'.repeat(16)}, base ${'01'.repeat(32)}`,
      'tensor  0 layer.0.w F32 [10, 10]: 8 of 100 changed (8.00 %) in 2 frames: set 2; gap 1, run 1; f32 1, bf16 1; 2.75 + 0.75 bytes a change',
      'tensor  3 layer.1.ß F16 [300]: 6 of 300 changed (2.00 %) in 2 frames: set 2; bitmap 1, range 1; i8 1, f16 1; 1.33 + 0.33 bytes a change',
      'total   14 changes, 54.29 bytes each; 1/1.3 of the 1,000 bytes of its tensors',
      `end     all checksums and the chain are correct, target ${'02'.repeat(32)}`,
      '',
    ].join('\n'),
  });
});

t.test('the faulty field is underlined in the bytes of its frame', async (t) => {
  const overlapping = new CraftedStream()
    .open()
    .tensor()
    .patch({ firstIndex: 5, lastIndex: 5 })
    .patch({ firstIndex: 5, lastIndex: 5 })
    .end().bytes;
  const { status, out } = await inspect(t, overlapping);
  t.equal(status, 1);
  t.match(out, 'update.wpf: 512 bytes, 3 good frames\n');
  t.match(
    out,
    'tensor  0 layer.0.w F32 [10, 10]: 1 of 100 changed (1.00 %)',
    'frames before the fault are described',
  );
  t.match(
    out,
    'fault   overlap (422) in frame 3 at byte 312: the patch begins at 5, the one before ended at 5\n',
  );
  t.match(
    out,
    /\n {2}0000000158 {2}00 00 00 00 01 00 00 00 05 00 00 00 00 00 00 00 {2}\|\.{16}\|\n {14} {24}\^\^( \^\^){7} {2}first_index\n/,
  );
  t.notMatch(out, /\nend/);
});

const bent: readonly (readonly [title: string, bytes: Buffer, rule: string, field: string | undefined])[] = [
  ['another magic', Buffer.from('GET / HTTP/1.1\r\nHost: a.test\r\n\r\n'), 'magic', 'magic'],
  ['no byte', Buffer.alloc(0), 'truncated', undefined],
  ['seven bytes', goodStream().bytes.subarray(0, 7), 'truncated', undefined],
  ['no END', goodStream().bytes.subarray(0, -120), 'truncated', undefined],
  ['half a payload', goodStream().bytes.subarray(0, 310), 'truncated', undefined],
  ['a byte behind END', Buffer.concat([goodStream().bytes, Buffer.from('x')]), 'trailing', undefined],
  ['a checksum', Buffer.from(goodStream().bytes).fill(1, 28, 29), 'header-crc', 'header_crc'],
  [
    'a reserved byte',
    new CraftedStream().open({}, (header) => header.writeUInt8(1, 133)).end().bytes,
    'reserved',
    'byte 133',
  ],
  [
    'a dtype',
    new CraftedStream()
      .open()
      .tensor({}, (header) => header.writeUInt8(99, 36))
      .end().bytes,
    'encoding',
    'dtype',
  ],
  [
    'indices',
    new CraftedStream().open().tensor().patch({ count: 2, lastIndex: 9 }, [9]).end().bytes,
    'indices',
    'index bytes',
  ],
  [
    'padding',
    new CraftedStream()
      .open()
      .tensor()
      .patch({}, [], undefined, (payload) => payload.fill(1, 7))
      .end().bytes,
    'reserved',
    'padding',
  ],
];

for (const [title, bytes, rule, field] of bent) {
  t.test(`the JSON of a patch that is wrong in ${title} names its rule and field`, async (t) => {
    const { status, out } = await inspect(t, bytes, '--json');
    t.equal(status, 1);
    const { fault } = JSON.parse(out);
    t.match(fault, { rule, ...(field !== undefined && { field }) });
    t.equal(fault.field, field);
  });
}

t.test(
  'inspect finds a NaN when it checks values, and never prints control characters of names',
  async (t) => {
    const { bytes } = new CraftedStream()
      .open()
      .tensor({ name: 'w\u001b[31m' })
      .patch({}, [], undefined, (payload) => payload.writeUInt32LE(0x7fc0_0000, 0))
      .end();
    t.match(await inspect(t, bytes), { status: 0, out: /w\\u001b\[31m F32/ });
    const { status, out } = await inspect(t, bytes, '--check', 'values');
    t.equal(status, 1);
    t.match(
      out,
      /fault {3}content \(422\) in frame 2.*is not a finite F32 number\n[\s\S]*\^\^ \^\^ \^\^ \^\^ {2}value bytes/,
    );
    t.notMatch(out, '\u001b');
  },
);

t.test('the exit status of the process tells whether a patch is good', async (t) => {
  const { bytes } = goodStream();
  const folder = t.testdir({ 'good.wpf': bytes, 'cut.wpf': bytes.subarray(0, -1) });
  t.match(await run(t, 'patch', 'inspect', join(folder, 'good.wpf')), {
    status: 0,
    out: /\nend {5}all checksums/,
  });
  t.match(await run(t, 'patch', 'inspect', join(folder, 'cut.wpf')), { status: 1, out: /truncated/ });
});

t.test('unusable arguments are reported', async (t) => {
  for (const words of [
    [],
    ['look', 'x'],
    ['inspect'],
    ['inspect', 'a', 'b'],
    ['inspect', 'a', '--check', 'all'],
  ]) {
    t.match(await runHere('patch', ...words), { status: 2 }, words.join(' '));
  }
  t.match(await runHere('patch', 'inspect', '/nowhere/x.wpf'), { status: 1, err: /ENOENT/ });
});
