/** The check of a resumed stream: OPEN is checked against the request again, the rest against OPEN and its tensor. */

import t from 'tap';
import { createPatchCheck, type PatchExpectation } from '../../gateway/patch/check.ts';
import type { PatchFault } from '../../gateway/patch/fault.ts';
import { CraftedStream, goodStream } from './crafted-stream.ts';

const good = goodStream();
const starts = good.frames.map((_, k) => Buffer.concat(good.frames.slice(0, k)).length);
const tensors = good.frames.flatMap((frame, k) => (frame[4] === 2 ? [k] : []));

/** The body of a request that resumes at the given frame: OPEN, the last TENSOR before, and the rest. */
function bodyFrom(k: number, frames: readonly Buffer[] = good.frames): Buffer[] {
  const tensor = tensors.findLast((each) => each < k);
  const restated = tensor === undefined ? [] : [frames[tensor] ?? Buffer.alloc(0)];
  return [frames[0] ?? Buffer.alloc(0), ...restated, ...frames.slice(k)];
}

function pass(body: Buffer, expectation: PatchExpectation, size = body.length) {
  const check = createPatchCheck('deep', expectation);
  const forwarded: Buffer[] = [];
  const forward = (bytes: Buffer) => forwarded.push(Buffer.from(bytes));
  let fault: PatchFault | undefined;
  for (let at = 0; at < body.length && fault === undefined; at += size) {
    fault = check.accept(body.subarray(at, at + size), forward);
  }
  fault ??= check.finish(forward);
  return { fault, forwarded: Buffer.concat(forwarded) };
}

const resumable = good.frames.map((_, k) => k).slice(1);

t.test('from every frame on, in chunks of any size, the rest is forwarded as it came', async (t) => {
  for (const k of resumable) {
    const body = Buffer.concat(bodyFrom(k));
    for (const size of [1, 7, 100, body.length]) {
      const { fault, forwarded } = pass(body, { resumeAt: starts[k] ?? 0 }, size);
      t.equal(fault, undefined, `frame ${k} passes in chunks of ${size}`);
      t.ok(forwarded.equals(body));
    }
  }
});

t.test('OPEN is checked against the request as if the stream were new', async (t) => {
  const allowed = { modelId: 'bert_tiny', targetVersion: 5, maxEpoch: 3, maxBytes: good.bytes.length };
  const refused: readonly (readonly [PatchExpectation, PatchFault['rule']])[] = [
    [{ modelId: 'other' }, 'model'],
    [{ targetVersion: 6 }, 'version'],
    [{ maxEpoch: 2 }, 'epoch'],
    [{ maxBytes: good.bytes.length - 1 }, 'stream-size'],
  ];
  for (const k of resumable) {
    const body = Buffer.concat(bodyFrom(k));
    const resumeAt = starts[k] ?? 0;
    t.equal(pass(body, { ...allowed, resumeAt }).fault, undefined);
    for (const [more, rule] of refused) {
      t.equal(
        pass(body, { ...allowed, ...more, resumeAt }).fault?.rule,
        rule,
        `${rule} is refused from frame ${k}`,
      );
    }
  }
});

t.test('every flipped bit and every truncation is refused before END is forwarded', async (t) => {
  for (const k of resumable) {
    const body = Buffer.concat(bodyFrom(k));
    const resumeAt = starts[k] ?? 0;
    for (let bit = 0; bit < body.length * 8; bit++) {
      const spoiled = Buffer.from(body);
      spoiled[bit >>> 3] = (spoiled[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
      const { fault, forwarded } = pass(spoiled, { resumeAt });
      if (fault === undefined || forwarded.length > body.length - 120)
        t.fail(`bit ${bit} from frame ${k} must be refused before END`);
    }
    for (let length = 0; length < body.length; length++) {
      const { fault } = pass(body.subarray(0, length), { resumeAt });
      if (fault === undefined) t.fail(`${length} bytes from frame ${k} must be refused`);
    }
  }
  t.pass('all damage was refused from every frame');
});

const [open = Buffer.alloc(0)] = good.frames;
const lastTensor = tensors.at(-1) ?? 0;
const middle = lastTensor + 1;
const at = starts[middle] ?? 0;
const frame = (k: number): Buffer => good.frames[k] ?? Buffer.alloc(0);
const rest = good.frames.slice(middle);

const wrong: readonly (readonly [string, readonly Buffer[], number, PatchFault['rule']])[] = [
  ['without OPEN', rest, at, 'sequence'],
  ['with OPEN twice', [open, open, ...rest], at, 'offset'],
  ['in a tensor that is not named again', [open, ...rest], at, 'tensor-order'],
  ['with a tensor named twice', [open, frame(lastTensor), frame(lastTensor), ...rest], at, 'offset'],
  ['with a tensor that it is not in', [open, frame(tensors[0] ?? 0), ...rest], at, 'tensor-order'],
  ['later than said', bodyFrom(middle + 1), at, 'offset'],
  ['earlier than said', bodyFrom(middle), starts[middle + 1] ?? 0, 'offset'],
  ['in the middle of a frame', bodyFrom(middle), at + 8, 'offset'],
  ['inside OPEN', [open, ...good.frames.slice(1)], 8, 'offset'],
  ['inside the tensor that is named again', bodyFrom(middle), (starts[lastTensor] ?? 0) + 8, 'offset'],
  ['with a patch in place of the tensor', [open, frame(middle), ...rest], at, 'tensor-order'],
  ['behind its end', [open, frame(lastTensor), frame(good.frames.length - 1)], good.bytes.length, 'offset'],
];

for (const [title, frames, resumeAt, rule] of wrong) {
  t.test(`a stream that resumes ${title} is refused`, async (t) => {
    const { fault, forwarded } = pass(Buffer.concat(frames), { resumeAt });
    t.equal(fault?.rule, rule);
    t.notOk(forwarded.includes(frame(good.frames.length - 1)), 'no END is forwarded');
  });
}

t.test('if shares of tensors are counted, a stream resumes only between tensors', async (t) => {
  const content = { maxChanged: 1 };
  for (const k of resumable) {
    const isCutWithin = frame(k)[4] === 3 && frame(k - 1)[4] === 3;
    const { fault, forwarded } = pass(Buffer.concat(bodyFrom(k)), { resumeAt: starts[k] ?? 0, content });
    t.equal(fault?.rule, isCutWithin ? 'offset' : undefined, `frame ${k} has the right outcome`);
    if (isCutWithin) t.equal(forwarded.indexOf(frame(k)), -1, 'the frame is not forwarded');
  }
});

t.test('a frame after skipped ones must have a later number', async (t) => {
  for (const sequence of [0, 1, 2]) {
    const stream = new CraftedStream()
      .open()
      .tensor()
      .patch({ count: 1 })
      .patch({ count: 1, firstIndex: 5, lastIndex: 5 }, [], (header) => {
        header.writeUInt32LE(sequence, 12);
      });
    const [first, tensor, skipped, late] = stream.frames;
    if (!first || !tensor || !skipped || !late) throw new Error('no frames');
    const resumeAt = first.length + tensor.length + skipped.length;
    t.equal(pass(Buffer.concat([first, tensor, late]), { resumeAt }).fault?.rule, 'sequence');
  }
});

t.test('totals that are less than what was seen are refused', async (t) => {
  const craft = (fields: object) => {
    const stream = new CraftedStream().open().tensor().patch({}).patch({ firstIndex: 5, lastIndex: 5 });
    return stream.end({ totalChanged: 2, ...fields }).frames;
  };
  const goOn = (fields: object) => {
    const [first, tensor, skipped, ...others] = craft(fields);
    if (!first || !tensor || !skipped) throw new Error('no frames');
    const resumeAt = first.length + tensor.length + skipped.length;
    return pass(Buffer.concat([first, tensor, ...others]), { resumeAt }).fault?.rule;
  };
  t.equal(goOn({}), undefined);
  for (const fields of [
    { totalChanged: 0 },
    { tensorCount: 0 },
    { tensorCount: 2 },
    { frameCount: 4 },
    { totalBytes: 9 },
  ]) {
    t.equal(goOn(fields), 'counts', JSON.stringify(fields));
  }
});
