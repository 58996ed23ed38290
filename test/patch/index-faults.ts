/** Faults inside a payload: indices of each encoding that contradict their header, and padding. */

import { type FaultCase, patched, range } from './faulty-stream.ts';

const spoil = (at: number, byte: number) => (payload: Buffer) => {
  payload[at] = byte;
};
const bitmap = { indices: 'bitmap', count: 3, lastIndex: 9 } as const;
const run = { indices: 'run', count: 4, firstIndex: 2, lastIndex: 9 } as const;

export const indexCases: readonly FaultCase[] = [
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
