/** Faults of numbers: versions, sizes, counts and indices out of bounds, and CRCs that do not match the payload. */

import { CraftedStream } from './crafted-stream.ts';
import { type FaultCase, lying, openFrame, patched, patchFrame } from './faulty-stream.ts';

const u64Above = Buffer.from([0, 0, 0, 0, 0, 0, 0x20, 0]);

export const boundsCases: readonly FaultCase[] = [
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
