/** Exhaustively bad input: each fault is one of the table, and neither END nor a change gets through. */

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { applyPatch } from '../../gateway/patch/apply.ts';
import { createPatchCheck, type PatchCheckMode } from '../../gateway/patch/check.ts';
import { decodeHeader, isViolation } from '../../gateway/patch/decode.ts';
import { modelDigest } from '../../gateway/patch/digest.ts';
import { type PatchFault, PatchFaultError, patchFaults } from '../../gateway/patch/fault.ts';
import { encodeIndices } from '../../gateway/patch/index-encoding.ts';
import {
  indexEncodings,
  operations,
  type ValueEncoding,
  valueEncodings,
} from '../../gateway/patch/layout.ts';
import { readPatch } from '../../gateway/patch/read.ts';
import { openSafetensors, writeSafetensors } from '../../gateway/patch/safetensors.ts';
import { patchModel } from '../../gateway/patch/write.ts';
import { CraftedStream } from './crafted-stream.ts';
import { arriving, changeTensor, gather, randomTensor } from './random-model.ts';
import { SeededRandom } from './seeded-random.ts';

const END_LENGTH = 120;
const modes: readonly PatchCheckMode[] = ['header', 'deep', 'values'];
/** Each check in chunks of another size. */
const ways = [
  { mode: 'header', size: 11 },
  { mode: 'deep', size: 1 },
  { mode: 'values', size: 4096 },
] as const;

/** One small stream for each pair of encodings: four elements of a tensor of 100, and an END. */
const small = indexEncodings.flatMap((indices) =>
  valueEncodings.map((values) => {
    const numbers = indices === 'range' ? [7, 8, 9, 10] : [7, 8, 9, 300];
    const encoded = encodeIndices(indices, Float64Array.from(numbers));
    const [firstIndex = 0, lastIndex = 0] = [numbers[0], numbers.at(-1)];
    const fields = { count: 4, firstIndex, lastIndex, indices, values, scale: values === 'i8' ? 0.5 : 0 };
    const stream = new CraftedStream()
      .open({ totalChanged: 4 })
      .tensor({ shape: [400] })
      .patch(fields, [...encoded])
      .end().bytes;
    return { name: `${indices} ${values}`, stream };
  }),
);

interface Outcome {
  readonly fault: PatchFault | undefined;
  /** The bytes that reached the node. */
  readonly forwarded: Buffer;
}

/** Sends a body through a check and lets anything thrown pass. */
function pass(body: Buffer, mode: PatchCheckMode, size: number): Outcome {
  const check = createPatchCheck(mode, { modelId: 'bert_tiny', maxEpoch: 3, maxBytes: 1_000_000 });
  const forwarded: Buffer[] = [];
  const forward = (bytes: Buffer) => forwarded.push(Buffer.from(bytes));
  let fault: PatchFault | undefined;
  for (let at = 0; at < body.length && fault === undefined; at += size) {
    fault = check.accept(body.subarray(at, at + size), forward);
  }
  return { fault: fault ?? check.finish(forward), forwarded: Buffer.concat(forwarded) };
}

/** Whether the fault is one of the table and only a beginning of the body short of END was forwarded. */
function isRefused(body: Buffer, goodLength: number, mode: PatchCheckMode, size: number): boolean {
  const { fault, forwarded } = pass(body, mode, size);
  return (
    fault !== undefined &&
    fault.status === patchFaults[fault.rule].status &&
    forwarded.length <= goodLength - END_LENGTH &&
    forwarded.equals(body.subarray(0, forwarded.length))
  );
}

function flipped(stream: Buffer, bit: number): Buffer {
  const spoiled = Buffer.from(stream);
  spoiled[bit >>> 3] = (spoiled[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
  return spoiled;
}

/** Everything done to a stream exhaustively: each bit flipped, and each shorter length. */
function* bent(stream: Buffer): Generator<readonly [what: string, body: Buffer]> {
  for (let bit = 0; bit < stream.length * 8; bit++) yield [`bit ${bit}`, flipped(stream, bit)];
  for (let length = 0; length < stream.length; length++)
    yield [`cut at ${length}`, stream.subarray(0, length)];
}

t.test('every flipped bit and every truncation of a stream of each encoding is refused', async (t) => {
  const survivors: string[] = [];
  let tried = 0;
  for (const { name, stream } of small) {
    for (const { mode, size } of ways) {
      const { fault, forwarded } = pass(stream, mode, size);
      t.ok(fault === undefined && forwarded.equals(stream), `${name} passes ${mode} in chunks of ${size}`);
    }
    for (const [what, body] of bent(stream)) {
      tried += 1;
      const refused = ways.every(({ mode, size }) => isRefused(body, stream.length, mode, size));
      if (!refused) survivors.push(`${name}, ${what}`);
    }
  }
  t.same(survivors, []);
  t.equal(small.length, 16);
  const bytes = small.reduce((sum, { stream }) => sum + stream.length, 0);
  t.equal(tried, bytes * 9);
  t.comment(
    `${bytes * 8} single-bit flips and ${bytes} truncations of 16 streams, each in 3 checks: none passed`,
  );
});

/** One change of many bytes, as a broken or hostile sender might make it. */
function mutated(random: SeededRandom, stream: Buffer): Buffer {
  const at = random.below(stream.length);
  const length = 1 + random.below(64);
  const kinds: readonly (() => Buffer)[] = [
    () => flipped(stream, random.below(stream.length * 8)),
    () => Buffer.concat([stream.subarray(0, at), random.bytes(length), stream.subarray(at + length)]),
    () => Buffer.concat([stream.subarray(0, at), random.bytes(length), stream.subarray(at)]),
    () => Buffer.concat([stream.subarray(0, at), stream.subarray(at + length)]),
    () => Buffer.concat([stream.subarray(0, at), Buffer.alloc(length, 0xff), stream.subarray(at + length)]),
    () => Buffer.concat([stream.subarray(0, at), Buffer.alloc(length), stream.subarray(at + length)]),
    () => swapped(stream, at, random.below(stream.length), length),
    () => Buffer.concat([stream, stream.subarray(at)]),
  ];
  return (kinds[random.below(kinds.length)] ?? (() => stream))();
}

/** Swaps two stretches. */
function swapped(stream: Buffer, a: number, b: number, length: number): Buffer {
  const bytes = Buffer.from(stream);
  stream.copy(bytes, a, b, b + length);
  stream.copy(bytes, b, a, a + length);
  return bytes;
}

/** A base on disk, and the patch to a model of it in which all kinds of tensors changed. */
async function setModel(t: Test) {
  const folder = t.testdir({});
  const random = new SeededRandom(100);
  const plans = [
    ['a', 'F32', [40_000]],
    ['b', 'BF16', [30_000]],
    ['c', 'F16', [50, 100]],
    ['d', 'I8', [5000]],
    ['e', 'F64', [1000]],
    ['f', 'BOOL', [200]],
  ] as const;
  const base = plans.map((plan) => randomTensor(random, plan));
  const target = base.map((each, k) => changeTensor(random, each, k % 2 === 0 ? 'runs' : 'singles'));
  const path = join(folder, 'base');
  await writeSafetensors(path, base);
  await writeSafetensors(join(folder, 'target'), target);
  const identity = { modelId: 'bert_tiny', baseVersion: 4, targetVersion: 5, epoch: 3 };
  const patch = await patchModel(path, join(folder, 'target'), identity);
  const stream = await gather(patch.stream);
  await patch.close();
  const file = await openSafetensors(path);
  t.teardown(() => file.close());
  return { folder, path, file, stream, baseDigest: await modelDigest(file) };
}

t.test(
  'a thousand seeded mutations of a larger stream change nothing at the gateway or the node',
  async (t) => {
    const { folder, path, file, stream, baseDigest } = await setModel(t);
    const before = await readFile(path);
    const random = new SeededRandom(101);
    const rules = new Map<string, number>();
    const survivors: number[] = [];
    let tried = 0;
    for (let round = 0; tried < 1000; round++) {
      const body = mutated(random, stream);
      if (body.equals(stream)) continue;
      tried += 1;
      const size = 1 + random.below(3000);
      for (const mode of modes) if (!isRefused(body, stream.length, mode, size)) survivors.push(round);
      try {
        await applyPatch(file, readPatch(arriving(body, size)), join(folder, 'made'), {
          baseVersion: 4,
          baseDigest,
        });
        survivors.push(round);
      } catch (error) {
        if (!(error instanceof PatchFaultError)) throw error;
        rules.set(error.fault.rule, (rules.get(error.fault.rule) ?? 0) + 1);
      }
    }
    t.same(survivors, []);
    t.equal(tried, 1000);
    t.same((await readdir(folder)).sort(), ['base', 'target']);
    t.ok((await readFile(path)).equals(before), 'the base is unchanged');
    t.comment(
      `1000 mutations of ${stream.length} bytes: ${[...rules].map((each) => each.join(' ')).join(', ')}`,
    );
  },
);

/** Scales that suit the tensor; F32 takes all of them. */
const scales: Readonly<Record<ValueEncoding, number>> = { f32: 0, f16: 0, bf16: 0, i8: 2 };

/** Frames with right CRCs, handed to the second line of defence as the check would, but without it. */
async function* unchecked(stream: CraftedStream) {
  for (const frame of stream.frames) {
    const headerBytes = frame.subarray(0, frame.readUInt16LE(6));
    const header = decodeHeader(headerBytes);
    if (isViolation(header)) throw new Error(header.detail);
    yield { header, headerBytes, payload: frame.subarray(headerBytes.length) };
  }
}

t.test('applying a patch refuses lying indices by itself, for every encoding and operation', async (t) => {
  const { folder, path, file, baseDigest } = await setModel(t);
  const before = await readFile(path);
  const lies = [
    { indices: 'gap', count: 3, index: [0, 0, 0], rule: 'indices' },
    { indices: 'gap', count: 3, index: [0, 0x7f], rule: 'indices' },
    { indices: 'run', count: 3, index: [0, 3], rule: 'indices' },
    { indices: 'run', count: 3, index: [1, 2], rule: 'indices' },
    { indices: 'bitmap', count: 3, index: [0x0f], rule: 'indices' },
    { indices: 'bitmap', count: 3, index: [0x06], rule: 'indices' },
  ] as const;
  let tried = 0;
  for (const { rule, index, ...fields } of lies) {
    for (const values of valueEncodings) {
      for (const operation of operations) {
        const stream = new CraftedStream()
          .open({ baseDigest, totalParams: 40_000 })
          .tensor({ name: 'a', shape: [40_000] })
          .patch({ ...fields, firstIndex: 0, lastIndex: 2, values, operation, scale: scales[values] }, index)
          .end();
        await t.rejects(applyPatch(file, unchecked(stream), join(folder, 'made'), { baseVersion: 4 }), {
          name: 'PatchFaultError',
          fault: { rule, frame: 2 },
        });
        tried += 1;
      }
    }
  }
  t.equal(tried, 48);
  t.same((await readdir(folder)).sort(), ['base', 'target']);
  t.ok((await readFile(path)).equals(before));
});
