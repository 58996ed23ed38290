/** The check in passing: what is forwarded, what is held back, and that nothing spoiled is ever committed. */

import t from 'tap';
import { createPatchCheck, type PatchCheckMode, type PatchExpectation } from '../../gateway/patch/check.ts';
import type { PatchFault } from '../../gateway/patch/fault.ts';
import { goodStream } from './crafted-stream.ts';

const stream = goodStream().bytes;
const END_LENGTH = 120;
const modes: readonly PatchCheckMode[] = ['header', 'deep'];
const chunkSizes: readonly number[] = [1, 7, 32, 1000, stream.length];

interface Outcome {
  readonly fault: PatchFault | undefined;
  readonly forwarded: readonly Buffer[];
}

/** Sends a whole body through a check; forwarded bytes are copied, as the chunk may be reused. */
function pass(
  body: Buffer,
  size: number,
  mode: PatchCheckMode = 'deep',
  expectation: PatchExpectation = {},
): Outcome {
  const check = createPatchCheck(mode, expectation);
  const forwarded: Buffer[] = [];
  const forward = (bytes: Buffer) => forwarded.push(Buffer.from(bytes));
  for (let at = 0; at < body.length; at += size) {
    const fault = check.accept(body.subarray(at, at + size), forward);
    if (fault !== undefined) return { fault, forwarded };
  }
  return { fault: check.finish(forward), forwarded };
}

for (const mode of modes) {
  t.test(`a good stream leaves a ${mode} check as it came, whatever the chunks`, async (t) => {
    for (let size = 1; size <= stream.length; size++) {
      const { fault, forwarded } = pass(stream, size, mode);
      if (fault !== undefined || !Buffer.concat(forwarded).equals(stream)) {
        t.fail(`a good stream passes in chunks of ${size} bytes`, { fault, forwarded });
      }
    }
    t.pass('a good stream passed in chunks of every size');
  });
}

t.test('a chunk without END is forwarded as the same Buffer in one call', async (t) => {
  const check = createPatchCheck('deep', {});
  const forwarded: Buffer[] = [];
  const forward = (bytes: Buffer) => forwarded.push(bytes);
  const frames = goodStream().frames;
  for (const frame of frames.slice(0, -1)) {
    t.equal(check.accept(frame, forward), undefined);
    t.equal(forwarded.at(-1), frame);
  }
  t.equal(forwarded.length, frames.length - 1);
  t.equal(check.accept(Buffer.from(frames.at(-1) ?? ''), forward), undefined);
  t.equal(forwarded.length, frames.length - 1, 'END waits for the end of the body');
  t.equal(check.finish(forward), undefined);
  t.same(forwarded.at(-1), frames.at(-1));
});

t.test('a part of a chunk is forwarded as a view of its memory, never as a copy', async (t) => {
  const check = createPatchCheck('deep', {});
  const memory = Buffer.allocUnsafeSlow(stream.length);
  stream.copy(memory);
  const first = memory.subarray(0, 200);
  const second = memory.subarray(200);
  const forwarded: Buffer[] = [];
  check.accept(first, (bytes) => forwarded.push(bytes));
  t.equal(forwarded.length, 1);
  t.equal(forwarded[0]?.buffer, memory.buffer);
  check.accept(second, (bytes) => forwarded.push(bytes));
  t.equal(forwarded.length, 3, 'the split header is forwarded by itself, and the rest at once');
  t.not(forwarded[1]?.buffer, memory.buffer, 'the split header is a new buffer');
  t.equal(forwarded[2]?.buffer, memory.buffer);
});

t.test('a check reports what it has seen', async (t) => {
  const check = createPatchCheck('deep', {});
  t.equal(check.open, undefined);
  check.accept(stream, () => {});
  t.equal(check.frames, 8);
  t.equal(check.changed, 14);
  t.match(check.open, { modelId: 'bert_tiny', baseVersion: 4, targetVersion: 5, epoch: 3 });
});

t.test('chunks may be reused once they were accepted', async (t) => {
  const check = createPatchCheck('deep', {});
  const forwarded: Buffer[] = [];
  const slab = Buffer.alloc(50);
  for (let at = 0; at < stream.length; at += slab.length) {
    const part = slab.subarray(0, stream.copy(slab, 0, at, at + slab.length));
    t.equal(
      check.accept(part, (bytes) => forwarded.push(Buffer.from(bytes))),
      undefined,
    );
    slab.fill(0xff);
  }
  t.equal(
    check.finish((bytes) => forwarded.push(bytes)),
    undefined,
  );
  t.ok(Buffer.concat(forwarded).equals(stream));
});

/** Whether it is refused with nothing of END forwarded: a node that waits for END commits nothing. */
function isRefused(body: Buffer, size: number, mode: PatchCheckMode): boolean {
  const { fault, forwarded } = pass(body, size, mode);
  const bytes = forwarded.reduce((sum, part) => sum + part.length, 0);
  return fault !== undefined && bytes <= stream.length - END_LENGTH;
}

for (const size of chunkSizes) {
  t.test(`every flipped bit is refused before END is forwarded, in chunks of ${size}`, async (t) => {
    const survivors: number[] = [];
    for (let bit = 0; bit < stream.length * 8; bit++) {
      const spoiled = Buffer.from(stream);
      spoiled[bit >>> 3] = (spoiled[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
      if (!isRefused(spoiled, size, 'deep')) survivors.push(bit);
    }
    t.same(survivors, []);
  });

  t.test(`every truncation is refused before END is forwarded, in chunks of ${size}`, async (t) => {
    const survivors = modes.flatMap((mode) =>
      Array.from({ length: stream.length }, (_, length) => length).filter(
        (length) => !isRefused(stream.subarray(0, length), size, mode),
      ),
    );
    t.same(survivors, []);
  });

  t.test(`a byte behind END is refused and END is held back, in chunks of ${size}`, async (t) => {
    for (const tail of [Buffer.alloc(1), Buffer.from('WPF1'), stream]) {
      const { fault, forwarded } = pass(Buffer.concat([stream, tail]), size);
      t.match(fault, { rule: 'trailing', status: 422, frame: 8, offset: stream.length });
      t.ok(Buffer.concat(forwarded).length <= stream.length - END_LENGTH);
    }
  });
}

t.test('every flipped bit is refused by the header check too', async (t) => {
  const survivors: number[] = [];
  for (let bit = 0; bit < stream.length * 8; bit++) {
    const spoiled = Buffer.from(stream);
    spoiled[bit >>> 3] = (spoiled[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
    if (!isRefused(spoiled, 32, 'header')) survivors.push(bit);
  }
  t.same(survivors, []);
});

t.test('a check that found a fault repeats it and forwards nothing more', async (t) => {
  const check = createPatchCheck('deep', {});
  const never = () => t.fail('nothing is forwarded after a fault');
  const fault = check.accept(Buffer.from('GET / HTTP/1.1\r\n'), never);
  t.match(fault, { kind: 'patch-fault', rule: 'magic', status: 400, frame: 0, offset: 0 });
  t.equal(check.accept(stream, never), fault);
  t.equal(check.finish(never), fault);
});

t.test('a body without a single byte is truncated at frame 0', async (t) => {
  t.match(
    createPatchCheck('deep', {}).finish(() => t.fail('nothing is forwarded')),
    { rule: 'truncated', frame: 0, offset: 0 },
  );
});

t.test('OPEN is checked against the request before anything is forwarded', async (t) => {
  const cases: readonly (readonly [PatchExpectation, Partial<PatchFault> | undefined])[] = [
    [{ modelId: 'bert_tiny', targetVersion: 5, maxEpoch: 3, maxBytes: stream.length }, undefined],
    [{ modelId: 'bert_large' }, { rule: 'model', status: 403 }],
    [{ modelId: 'bert_tin' }, { rule: 'model', status: 403 }],
    [{ targetVersion: 6 }, { rule: 'version', status: 403 }],
    [{ maxEpoch: 2 }, { rule: 'epoch', status: 403 }],
    [{ maxEpoch: 0 }, { rule: 'epoch', status: 403 }],
    [{ maxBytes: 10 }, { rule: 'stream-size', status: 413 }],
  ];
  for (const [expectation, expected] of cases) {
    const { fault, forwarded } = pass(stream, stream.length, 'header', expectation);
    if (expected === undefined) t.equal(fault, undefined);
    else {
      t.match(fault, { ...expected, frame: 0, offset: 0 });
      t.equal(forwarded.length, 0);
    }
  }
});

t.test('the frame that would exceed the byte limit is not forwarded', async (t) => {
  const { fault, forwarded } = pass(stream, stream.length, 'deep', { maxBytes: stream.length - 1 });
  t.match(fault, { rule: 'stream-size', status: 413, frame: 7, offset: stream.length - END_LENGTH });
  t.ok(Buffer.concat(forwarded).length <= stream.length - END_LENGTH);
});
