/** Streams that lie with valid CRCs: each rule of the fault table, its status, and the frame that is named. */

import t from 'tap';
import { createPatchCheck } from '../../gateway/patch/check.ts';
import {
  isPatchFault,
  PatchFaultError,
  type PatchFaultRule,
  patchFaults,
} from '../../gateway/patch/fault.ts';
import { sealHeader } from '../../gateway/patch/format.ts';
import { CraftedStream, goodStream } from './crafted-stream.ts';

interface Case {
  readonly title: string;
  readonly rule: PatchFaultRule;
  /** The frame that is named. */
  readonly frame: number;
  readonly stream: CraftedStream | Buffer;
}

const u64Above = Buffer.from([0, 0, 0, 0, 0, 0, 0x20, 0]);
const begun = () => new CraftedStream().open().tensor();
/** A patch of tensor 0 (100 elements of F32) as frame 2, then a good END. */
const patched = (...patch: Parameters<CraftedStream['patch']>) =>
  begun()
    .patch(...patch)
    .end();
const lying = (type: number, lie: (header: Buffer) => void): Buffer => {
  const { frames } = goodStream();
  const frame = frames.find((candidate) => candidate[4] === type) ?? Buffer.alloc(0);
  const header = frame.subarray(0, frame.readUInt16LE(6));
  lie(header);
  sealHeader(header);
  return Buffer.concat(frames);
};
const unsealed = (lie: (bytes: Buffer) => void): Buffer => {
  const { bytes } = goodStream();
  lie(bytes);
  return bytes;
};
const [openFrame, tensorFrame, patchFrame, endFrame] = [1, 2, 3, 4];

const headerCases: readonly Case[] = [
  { title: 'another magic', rule: 'magic', frame: 0, stream: unsealed((b) => b.write('WPF2', 0)) },
  { title: 'frame type 0', rule: 'type', frame: 0, stream: unsealed((b) => b.writeUInt8(0, 4)) },
  { title: 'frame type 5', rule: 'type', frame: 0, stream: unsealed((b) => b.writeUInt8(5, 4)) },
  { title: 'TENSOR first', rule: 'type', frame: 0, stream: new CraftedStream().tensor().end() },
  { title: 'END first', rule: 'type', frame: 0, stream: new CraftedStream().end() },
  { title: 'a second OPEN', rule: 'type', frame: 1, stream: new CraftedStream().open().open().end() },
  {
    title: 'a header of 520 bytes',
    rule: 'header-length',
    frame: 0,
    stream: unsealed((b) => b.writeUInt16LE(520, 6)),
  },
  {
    title: 'a header of 137 bytes',
    rule: 'header-length',
    frame: 0,
    stream: unsealed((b) => b.writeUInt16LE(137, 6)),
  },
  {
    title: 'a header of 0 bytes',
    rule: 'header-length',
    frame: 0,
    stream: unsealed((b) => b.writeUInt16LE(0, 6)),
  },
  {
    title: 'a model id longer than its header',
    rule: 'header-length',
    frame: 0,
    stream: lying(openFrame, (h) => h.writeUInt16LE(17, 128)),
  },
  {
    title: 'a model id shorter than its header',
    rule: 'header-length',
    frame: 0,
    stream: lying(openFrame, (h) => h.writeUInt16LE(8, 128)),
  },
  {
    title: 'a shape that runs out of the header',
    rule: 'header-length',
    frame: 1,
    stream: lying(tensorFrame, (h) => h.writeUInt8(8, 37)),
  },
  {
    title: 'a header CRC that is off',
    rule: 'header-crc',
    frame: 0,
    stream: unsealed((b) => b.writeUInt8(9, 28)),
  },
  { title: 'flags', rule: 'reserved', frame: 0, stream: lying(openFrame, (h) => h.writeUInt8(1, 5)) },
  {
    title: 'OPEN: bytes 130 to 136',
    rule: 'reserved',
    frame: 0,
    stream: lying(openFrame, (h) => h.writeUInt8(1, 135)),
  },
  {
    title: 'OPEN: padding',
    rule: 'reserved',
    frame: 0,
    stream: lying(openFrame, (h) => h.writeUInt8(1, 151)),
  },
  {
    title: 'TENSOR: padding',
    rule: 'reserved',
    frame: 1,
    stream: lying(tensorFrame, (h) => h.writeUInt8(1, 79)),
  },
  {
    title: 'PATCH: byte 59',
    rule: 'reserved',
    frame: 2,
    stream: lying(patchFrame, (h) => h.writeUInt8(1, 59)),
  },
  {
    title: 'PATCH: byte 68',
    rule: 'reserved',
    frame: 2,
    stream: lying(patchFrame, (h) => h.writeUInt8(1, 68)),
  },
  {
    title: 'model id not UTF-8',
    rule: 'encoding',
    frame: 0,
    stream: lying(openFrame, (h) => h.writeUInt8(255, 136)),
  },
  {
    title: 'name not UTF-8',
    rule: 'encoding',
    frame: 1,
    stream: lying(tensorFrame, (h) => h.writeUInt8(255, 64)),
  },
  {
    title: 'dtype 200',
    rule: 'encoding',
    frame: 1,
    stream: lying(tensorFrame, (h) => h.writeUInt8(200, 36)),
  },
  { title: 'operation 2', rule: 'encoding', frame: 2, stream: lying(patchFrame, (h) => h.writeUInt8(2, 56)) },
  {
    title: 'index encoding 4',
    rule: 'encoding',
    frame: 2,
    stream: lying(patchFrame, (h) => h.writeUInt8(4, 57)),
  },
  {
    title: 'value encoding 4',
    rule: 'encoding',
    frame: 2,
    stream: lying(patchFrame, (h) => h.writeUInt8(4, 58)),
  },
  {
    title: 'f32 values for I64 elements',
    rule: 'encoding',
    frame: 2,
    stream: new CraftedStream().open().tensor({ dtype: 'I64' }).patch({}).end(),
  },
  {
    title: 'scaled i8 values for I8 elements',
    rule: 'encoding',
    frame: 2,
    stream: new CraftedStream().open().tensor({ dtype: 'I8' }).patch({ values: 'i8', scale: 0.5 }).end(),
  },
];

const placeCases: readonly Case[] = [
  {
    title: 'frame 0 says 1',
    rule: 'sequence',
    frame: 0,
    stream: lying(openFrame, (h) => h.writeUInt32LE(1, 12)),
  },
  {
    title: 'frame 2 says 3',
    rule: 'sequence',
    frame: 2,
    stream: lying(patchFrame, (h) => h.writeUInt32LE(3, 12)),
  },
  {
    title: 'a frame left out',
    rule: 'sequence',
    frame: 2,
    stream: Buffer.concat(goodStream().frames.toSpliced(2, 1)),
  },
  {
    title: 'END again',
    rule: 'trailing',
    frame: 8,
    stream: Buffer.concat(goodStream().frames.toSpliced(7, 0, goodStream().frames[7] ?? Buffer.alloc(0))),
  },
  {
    title: 'another offset',
    rule: 'offset',
    frame: 2,
    stream: lying(patchFrame, (h) => h.writeUInt8(0, 16)),
  },
  { title: 'no END', rule: 'truncated', frame: 7, stream: Buffer.concat(goodStream().frames.slice(0, -1)) },
  {
    title: 'half a payload',
    rule: 'truncated',
    frame: 2,
    stream: Buffer.concat(goodStream().frames.slice(0, 3)).subarray(0, -1),
  },
];

const boundsCases: readonly Case[] = [
  {
    title: 'base version 2^53',
    rule: 'bounds',
    frame: 0,
    stream: lying(openFrame, (h) => u64Above.copy(h, 48)),
  },
  {
    title: 'target version 2^53',
    rule: 'bounds',
    frame: 0,
    stream: lying(openFrame, (h) => u64Above.copy(h, 56)),
  },
  {
    title: 'threshold NaN',
    rule: 'bounds',
    frame: 0,
    stream: new CraftedStream().open({ threshold: Number.NaN }).end(),
  },
  {
    title: 'threshold below 0',
    rule: 'bounds',
    frame: 0,
    stream: new CraftedStream().open({ threshold: -1 }).end(),
  },
  {
    title: 'more changes than parameters',
    rule: 'bounds',
    frame: 0,
    stream: new CraftedStream().open({ totalChanged: 1001 }).end(),
  },
  {
    title: 'OPEN with a payload',
    rule: 'bounds',
    frame: 0,
    stream: lying(openFrame, (h) => h.writeUInt32LE(8, 8)),
  },
  {
    title: 'rank 9',
    rule: 'bounds',
    frame: 1,
    stream: new CraftedStream()
      .open()
      .tensor({ shape: Array(9).fill(1) })
      .end(),
  },
  {
    title: 'shape and element count differ',
    rule: 'bounds',
    frame: 1,
    stream: new CraftedStream().open().tensor({ elementCount: 101 }).end(),
  },
  {
    title: 'a shape above 2^53 elements',
    rule: 'bounds',
    frame: 1,
    stream: new CraftedStream()
      .open()
      .tensor({ shape: [2 ** 40, 2 ** 40], elementCount: 0 })
      .end(),
  },
  {
    title: 'more parameters than OPEN said',
    rule: 'bounds',
    frame: 1,
    stream: new CraftedStream().open({ totalParams: 99 }).tensor().end(),
  },
  {
    title: 'a patch of nothing',
    rule: 'bounds',
    frame: 2,
    stream: patched({ count: 0, indices: 'run', indexLength: 2 }, [0, 0]),
  },
  { title: 'last before first', rule: 'bounds', frame: 2, stream: patched({ firstIndex: 5, lastIndex: 4 }) },
  {
    title: 'more elements than fit between',
    rule: 'bounds',
    frame: 2,
    stream: patched({ count: 3, lastIndex: 1 }, [0, 0]),
  },
  {
    title: 'an index equal to the element count',
    rule: 'bounds',
    frame: 2,
    stream: patched({ firstIndex: 100, lastIndex: 100 }),
  },
  {
    title: 'an index above 2^53',
    rule: 'bounds',
    frame: 2,
    stream: lying(patchFrame, (h) => u64Above.copy(h, 48)),
  },
  {
    title: 'a scale of infinity',
    rule: 'bounds',
    frame: 2,
    stream: patched({ values: 'i8', scale: Number.POSITIVE_INFINITY }),
  },
  {
    title: 'a payload longer than values and indices',
    rule: 'bounds',
    frame: 2,
    stream: lying(patchFrame, (h) => h.writeUInt32LE(32, 8)),
  },
  {
    title: 'a payload over the hard cap',
    rule: 'payload-size',
    frame: 2,
    stream: lying(patchFrame, (h) => h.writeUInt32LE(2 ** 20 + 8, 8)),
  },
  {
    title: 'a payload over what OPEN said',
    rule: 'payload-size',
    frame: 2,
    stream: new CraftedStream().open({ maxPayload: 7 }).tensor().patch({}).end(),
  },
  {
    title: 'OPEN announces more than the hard cap',
    rule: 'payload-size',
    frame: 0,
    stream: new CraftedStream().open({ maxPayload: 2 ** 20 + 1 }).end(),
  },
  {
    title: 'a payload CRC that is off',
    rule: 'payload-crc',
    frame: 2,
    stream: lying(patchFrame, (h) => h.writeUInt8(1, 24)),
  },
  {
    title: 'a CRC of no payload',
    rule: 'payload-crc',
    frame: 0,
    stream: lying(openFrame, (h) => h.writeUInt8(1, 24)),
  },
];

const range = { indices: 'range', count: 10, lastIndex: 9 } as const;
const orderCases: readonly Case[] = [
  {
    title: 'a patch before its tensor',
    rule: 'tensor-order',
    frame: 1,
    stream: new CraftedStream().open().patch({}).end(),
  },
  { title: 'a patch of another tensor', rule: 'tensor-order', frame: 2, stream: patched({ tensorId: 1 }) },
  {
    title: 'the same tensor again',
    rule: 'tensor-order',
    frame: 2,
    stream: new CraftedStream().open({ tensorCount: 2 }).tensor().tensor().end(),
  },
  {
    title: 'tensors falling',
    rule: 'tensor-order',
    frame: 2,
    stream: new CraftedStream()
      .open({ tensorCount: 2 })
      .tensor({ tensorId: 2 })
      .tensor({ tensorId: 1 })
      .end(),
  },
  { title: 'a patch twice', rule: 'overlap', frame: 3, stream: begun().patch(range).patch(range).end() },
  {
    title: 'a patch that begins where the last ended',
    rule: 'overlap',
    frame: 3,
    stream: begun().patch(range).patch({ firstIndex: 9, lastIndex: 9 }).end(),
  },
  {
    title: 'a patch before the last',
    rule: 'overlap',
    frame: 3,
    stream: begun().patch({ firstIndex: 50, lastIndex: 50 }).patch(range).end(),
  },
  {
    title: 'one tensor more than OPEN said',
    rule: 'counts',
    frame: 2,
    stream: begun().tensor({ tensorId: 1 }).end(),
  },
  {
    title: 'one tensor fewer than OPEN said',
    rule: 'counts',
    frame: 2,
    stream: new CraftedStream().open({ tensorCount: 2 }).tensor().end(),
  },
  {
    title: 'one change more than OPEN said',
    rule: 'counts',
    frame: 2,
    stream: new CraftedStream().open({ totalChanged: 9 }).tensor().patch(range).end(),
  },
  {
    title: 'one change fewer than OPEN said',
    rule: 'counts',
    frame: 3,
    stream: new CraftedStream().open({ totalChanged: 11 }).tensor().patch(range).end(),
  },
  { title: 'END: frames', rule: 'counts', frame: 2, stream: begun().end({ frameCount: 2 }) },
  { title: 'END: tensors', rule: 'counts', frame: 2, stream: begun().end({ tensorCount: 2 }) },
  { title: 'END: changes', rule: 'counts', frame: 3, stream: begun().patch(range).end({ totalChanged: 9 }) },
  { title: 'END: bytes', rule: 'counts', frame: 2, stream: begun().end({ totalBytes: 1 }) },
  { title: 'END: chain', rule: 'chain', frame: 2, stream: begun().end({ chain: Buffer.alloc(32) }) },
  {
    title: 'a header changed and sealed anew',
    rule: 'chain',
    frame: 7,
    stream: lying(openFrame, (h) => h.writeUInt32LE(9, 64)),
  },
];

const spoil = (at: number, byte: number) => (payload: Buffer) => {
  payload[at] = byte;
};
const bitmap = { indices: 'bitmap', count: 3, lastIndex: 9 } as const;
const run = { indices: 'run', count: 4, firstIndex: 2, lastIndex: 9 } as const;
const indexCases: readonly Case[] = [
  {
    title: 'gap: a gap too many',
    rule: 'indices',
    frame: 2,
    stream: patched({ count: 2, lastIndex: 9 }, [8, 0]),
  },
  {
    title: 'gap: a gap too few',
    rule: 'indices',
    frame: 2,
    stream: patched({ count: 3, lastIndex: 9 }, [0x88, 0x01]),
  },
  {
    title: 'gap: another last index',
    rule: 'indices',
    frame: 2,
    stream: patched({ count: 2, lastIndex: 9 }, [9]),
  },
  {
    title: 'gap: an index behind the tensor',
    rule: 'indices',
    frame: 2,
    stream: patched({ count: 2, lastIndex: 99 }, [0xff, 0x7f]),
  },
  {
    title: 'gap: a varint that is not minimal',
    rule: 'indices',
    frame: 2,
    stream: patched({ count: 2, lastIndex: 9 }, [0x88, 0x00]),
  },
  {
    title: 'gap: a varint of 6 bytes',
    rule: 'indices',
    frame: 2,
    stream: patched({ count: 3, lastIndex: 9 }, [0x88, 0x80, 0x80, 0x80, 0x80, 0x01]),
  },
  {
    title: 'gap: a varint cut off',
    rule: 'indices',
    frame: 2,
    stream: patched({ count: 2, lastIndex: 9 }, [8, 0x80]),
  },
  {
    title: 'gap: no index bytes',
    rule: 'indices',
    frame: 2,
    stream: patched({ count: 2, lastIndex: 9 }, []),
  },
  {
    title: 'gap: index bytes for one element',
    rule: 'indices',
    frame: 2,
    stream: patched({ count: 1, lastIndex: 9 }, [8]),
  },
  {
    title: 'gap: one element, two ends',
    rule: 'indices',
    frame: 2,
    stream: patched({ count: 1, lastIndex: 9 }, []),
  },
  { title: 'run: not from the first index', rule: 'indices', frame: 2, stream: patched(run, [1, 1, 3, 1]) },
  { title: 'run: another count', rule: 'indices', frame: 2, stream: patched(run, [0, 2, 3, 1]) },
  { title: 'run: another last index', rule: 'indices', frame: 2, stream: patched(run, [0, 1, 3, 1]) },
  { title: 'run: no length', rule: 'indices', frame: 2, stream: patched(run, [0, 3, 4]) },
  {
    title: 'run: a varint that is not minimal',
    rule: 'indices',
    frame: 2,
    stream: patched(run, [0x80, 0x00, 1, 4, 1]),
  },
  {
    title: 'run: a varint of 6 bytes',
    rule: 'indices',
    frame: 2,
    stream: patched(run, [0, 0x81, 0x80, 0x80, 0x80, 0x80, 0x00]),
  },
  { title: 'run: a varint cut off', rule: 'indices', frame: 2, stream: patched(run, [0, 1, 4, 0x81]) },
  { title: 'run: one byte', rule: 'indices', frame: 2, stream: patched(run, [0]) },
  { title: 'bitmap: a bit too many', rule: 'indices', frame: 2, stream: patched(bitmap, [0x0f, 0x02]) },
  { title: 'bitmap: a bit too few', rule: 'indices', frame: 2, stream: patched(bitmap, [0x01, 0x02]) },
  { title: 'bitmap: not the first', rule: 'indices', frame: 2, stream: patched(bitmap, [0x06, 0x02]) },
  { title: 'bitmap: not the last', rule: 'indices', frame: 2, stream: patched(bitmap, [0x07, 0x00]) },
  { title: 'bitmap: beyond the last', rule: 'indices', frame: 2, stream: patched(bitmap, [0x01, 0x06]) },
  {
    title: 'bitmap: a byte too many',
    rule: 'indices',
    frame: 2,
    stream: patched(bitmap, [0x03, 0x02, 0x00]),
  },
  { title: 'range: with index bytes', rule: 'indices', frame: 2, stream: patched(range, [0]) },
  { title: 'range: with a hole', rule: 'indices', frame: 2, stream: patched({ ...range, lastIndex: 10 }) },
  {
    title: 'payload padding',
    rule: 'reserved',
    frame: 2,
    stream: patched({ count: 2, lastIndex: 9 }, [8], undefined, spoil(15, 1)),
  },
  {
    title: 'padding that looks like a gap',
    rule: 'reserved',
    frame: 2,
    stream: patched({ count: 2, lastIndex: 9 }, [8], undefined, spoil(9, 8)),
  },
];

const cases = [...headerCases, ...placeCases, ...boundsCases, ...orderCases, ...indexCases];

/** Rules only someone who has the model or the request can break; tested there. */
const elsewhere: readonly PatchFaultRule[] = [
  'base',
  'tensor',
  'digest',
  'model',
  'epoch',
  'version',
  'stream-size',
  'content',
];

for (const { title, rule, frame, stream } of cases) {
  t.test(`${title} is refused by rule ${rule}`, async (t) => {
    const bytes = stream instanceof CraftedStream ? stream.bytes : stream;
    for (const size of [1, 7, 32, 1000, bytes.length]) {
      const check = createPatchCheck('deep', {});
      const forwarded: Buffer[] = [];
      const forward = (part: Buffer) => forwarded.push(Buffer.from(part));
      let fault: unknown;
      for (let at = 0; at < bytes.length && fault === undefined; at += size) {
        fault = check.accept(bytes.subarray(at, at + size), forward);
      }
      fault ??= check.finish(forward);
      t.match(
        fault,
        { kind: 'patch-fault', rule, status: patchFaults[rule].status, frame },
        `chunks of ${size}`,
      );
      t.notOk(hasEnd(Buffer.concat(forwarded)), 'END did not go on');
    }
  });
}

/** Whether any frame of these bytes is END. */
function hasEnd(bytes: Buffer): boolean {
  for (let at = 0; at + 12 <= bytes.length; at += bytes.readUInt16LE(at + 6) + bytes.readUInt32LE(at + 8)) {
    if (bytes[at + 4] === endFrame) return true;
  }
  return false;
}

t.test('every rule a stream alone can break has a case above', async (t) => {
  const covered = new Set([...cases.map(({ rule }) => rule), ...elsewhere]);
  t.same([...covered].sort(), Object.keys(patchFaults).sort());
});

t.test('the header check leaves the indices to those who decode them', async (t) => {
  for (const { rule, stream } of indexCases.slice(0, 1)) {
    const check = createPatchCheck('header', {});
    t.equal(rule, 'indices');
    t.equal(
      check.accept(stream instanceof CraftedStream ? stream.bytes : stream, () => {}),
      undefined,
    );
  }
});

t.test('statuses are those of the fault table', async (t) => {
  const statuses: Readonly<Record<number, readonly PatchFaultRule[]>> = {
    400: ['magic', 'type', 'header-length', 'header-crc', 'reserved', 'encoding'],
    403: ['model', 'epoch', 'version'],
    409: ['sequence', 'offset', 'base'],
    413: ['payload-size', 'stream-size'],
  };
  const rest: PatchFaultRule[] = [];
  for (const rule of Object.keys(patchFaults) as PatchFaultRule[]) {
    const { status } = patchFaults[rule];
    if (status === 422) rest.push(rule);
    else t.ok(statuses[status]?.includes(rule), `${rule} is ${status}`);
  }
  t.equal(rest.length + Object.values(statuses).flat().length, Object.keys(patchFaults).length);
});

t.test('a fault is told from other values, and an error carries it whole', async (t) => {
  const fault = createPatchCheck('deep', {}).finish(() => {});
  t.ok(isPatchFault(fault));
  for (const other of [undefined, null, 'patch-fault', { kind: 'denial' }, {}]) t.notOk(isPatchFault(other));
  if (fault === undefined) return;
  const error = new PatchFaultError(fault);
  t.equal(error.fault, fault);
  t.match(error.message, /truncated at frame 0, offset 0/);
});
