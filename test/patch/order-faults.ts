/** Faults of a frame among others: its place, its tensor, its predecessors, and the totals of OPEN and END. */

import { begun, CraftedStream, goodStream } from './crafted-stream.ts';
import { type FaultCase, lying, openFrame, patched, patchFrame, range } from './faulty-stream.ts';

export const placeCases: readonly FaultCase[] = [
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

export const orderCases: readonly FaultCase[] = [
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
