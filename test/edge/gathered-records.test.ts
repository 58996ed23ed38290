/** Records of one stream are passed on in order and whole, in few pieces, from memory that is not overwritten meanwhile. */

import t from 'tap';
import { GatheredRecords } from '../../gateway/edge/gathered-records.ts';
import { RECORD_BYTES } from '../../gateway/edge/record-block.ts';
import { RecordMemory } from '../../gateway/edge/record-memory.ts';
import { SeededRandom } from '../patch/seeded-random.ts';

const BLOCK_BYTES = 40 * RECORD_BYTES;

/** Reads as Node does: a record that does not fit is read in parts. */
function read(records: GatheredRecords, record: Buffer): void {
  for (let at = 0; at < record.length; ) {
    const target = records.next();
    const taken = record.copy(target, 0, at);
    records.take(taken);
    at += taken;
  }
}

t.test('full records in a row are one piece, up to the end of the block', async (t) => {
  const records = new GatheredRecords(new RecordMemory());
  for (let left = 50; left > 0; left--) read(records, Buffer.alloc(RECORD_BYTES));
  t.equal(records.bytes, 50 * RECORD_BYTES);
  const pieces: number[] = [];
  records.passOn(({ length }) => void pieces.push(length));
  t.same(pieces, [BLOCK_BYTES, 10 * RECORD_BYTES]);
  t.equal(records.bytes, 0);
});

t.test('small records fill a cell: it is not lent for each of them', async (t) => {
  const records = new GatheredRecords(new RecordMemory());
  for (let left = 16_384; left > 0; left--) read(records, Buffer.from('x'));
  t.equal(records.memoryBytes, RECORD_BYTES);
});

t.test('a cell is filled from its start again once nobody needs what is in it', async (t) => {
  const memory = new RecordMemory();
  const records = new GatheredRecords(memory);
  read(records, Buffer.alloc(1000));
  let release: (() => void) | undefined;
  records.passOn((bytes) => {
    release = memory.hold(bytes);
  });
  t.equal(records.next().length, RECORD_BYTES - 1000);
  release?.();
  t.equal(records.next().length, RECORD_BYTES);
});

t.test('a stream that leaves gives back what it gathered', async (t) => {
  const memory = new RecordMemory();
  const records = new GatheredRecords(memory);
  for (let left = 400; left > 0; left--) read(records, Buffer.alloc(RECORD_BYTES));
  t.equal(memory.byteLength, 10 * BLOCK_BYTES);
  records.leave();
  t.equal(memory.byteLength, 4 * BLOCK_BYTES);
  records.passOn(() => t.fail('nothing is left'));
});

t.test('20 streams of random records, passed on and released at random, arrive whole', async (t) => {
  const random = new SeededRandom(7);
  const memory = new RecordMemory();
  const streams = Array.from({ length: 20 }, () => ({
    records: new GatheredRecords(memory),
    sent: [] as Buffer[],
    held: [] as { readonly bytes: Buffer; readonly release: () => void }[],
    received: [] as Buffer[],
  }));
  for (let step = 0; step < 2000; step++) {
    const { records, sent, held, received } = streams[random.below(streams.length)] as (typeof streams)[0];
    const length = random.next() < 0.5 ? RECORD_BYTES : 1 + random.below(RECORD_BYTES);
    const record = Buffer.alloc(length, random.bytes(7));
    read(records, record);
    sent.push(record);
    if (random.next() < 0.3)
      records.passOn((bytes) => {
        held.push({ bytes, release: memory.hold(bytes) ?? (() => t.fail('bytes outside of the memory')) });
      });
    // Writes complete in order, and late.
    while (held.length > random.below(4)) {
      const { bytes, release } = held.shift() as (typeof held)[0];
      received.push(Buffer.from(bytes));
      release();
    }
  }
  for (const { records, sent, held, received } of streams) {
    for (const { bytes } of held) received.push(Buffer.from(bytes));
    records.passOn((bytes) => void received.push(Buffer.from(bytes)));
    t.ok(Buffer.concat(received).equals(Buffer.concat(sent)));
    for (const { release } of held) release();
    records.leave();
  }
  const { byteLength } = memory;
  for (let left = byteLength / RECORD_BYTES; left > 0; left--) memory.lend();
  t.equal(memory.byteLength, byteLength, 'every cell was free');
});
