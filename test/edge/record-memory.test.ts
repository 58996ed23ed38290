/** Cells that records are read into are reused when nobody needs their contents. */

import { Socket } from 'node:net';
import t from 'tap';
import { ownReadsWork, readIntoOwn } from '../../gateway/edge/own-reads.ts';
import { RECORD_BYTES } from '../../gateway/edge/record-block.ts';
import { createRecordMemory, RecordMemory } from '../../gateway/edge/record-memory.ts';
import { createLog } from '../../gateway/observe/log.ts';

t.test('this Node can read into our memory, and the check says so', async (t) => {
  t.equal(await ownReadsWork(), true);
});

t.test('where reading in place works there is a memory, and the log has no warning', async (t) => {
  const lines: string[] = [];
  const log = createLog('info', { write: (line) => void lines.push(line) });
  t.type(await createRecordMemory(log), RecordMemory);
  t.same(lines, []);
});

t.test('a socket without the needed internals is left alone', async (t) => {
  const socket = new Socket();
  t.equal(
    readIntoOwn(socket, { first: Buffer.alloc(1), onRead: () => undefined, next: () => Buffer.alloc(1) }),
    false,
  );
  socket.destroy();
});

t.test(
  'a lent cell is lent to nobody else, and the one behind the last comes next if it is free',
  async (t) => {
    const memory = new RecordMemory();
    const [first, second, third] = [memory.lend(), memory.lend(), memory.lend()];
    t.equal(new Set([first, second, third]).size, 3);
    first.giveBack();
    third.giveBack();
    t.equal(memory.lend(second), third);
    t.equal(memory.lend(second), first);
  },
);

t.test('it is crowded while many bytes are on their way out, whatever is lent', async (t) => {
  const memory = new RecordMemory();
  const cells = Array.from({ length: 100 }, () => memory.lend());
  t.equal(memory.isCrowded, false);
  const releases = cells.map(({ bytes }) => memory.hold(bytes));
  t.equal(memory.isCrowded, true);
  for (const release of releases.slice(0, 36)) release?.();
  t.equal(memory.isCrowded, false);
});

t.test('bytes on their way out keep every cell they touch, whoever reads', async (t) => {
  const memory = new RecordMemory();
  const first = memory.lend();
  const second = memory.lend(first);
  const bytes = first.block.bytes.subarray(RECORD_BYTES - 1, RECORD_BYTES + 1);
  const [one, two] = [memory.hold(bytes), memory.hold(bytes)];
  first.giveBack();
  second.giveBack();
  one?.();
  t.same([first.isFree, second.isFree], [false, false]);
  two?.();
  t.same([first.isFree, second.isFree], [true, true]);
  t.equal(memory.hold(Buffer.alloc(1)), undefined, 'other bytes need no hold');
  t.same([memory.holds(bytes), memory.holds(Buffer.alloc(1))], [true, false]);
});

t.test('memory grows by blocks, and shrinks to a few once no cell is used', async (t) => {
  const memory = new RecordMemory();
  const cells = Array.from({ length: 1000 }, () => memory.lend());
  t.equal(new Set(cells).size, 1000);
  t.equal(memory.byteLength, 25 * 40 * RECORD_BYTES);
  for (const cell of cells) cell.giveBack();
  t.equal(memory.byteLength, 4 * 40 * RECORD_BYTES);
});

t.test('what one connection gathered is sent before another one gathers', async (t) => {
  const memory = new RecordMemory();
  const sent: string[] = [];
  const reader = (name: string) => ({ sendGathered: () => void sent.push(name) });
  const [one, two] = [reader('one'), reader('two')];
  memory.readsInto(one);
  memory.readsInto(one);
  t.same(sent, []);
  memory.readsInto(two);
  t.same(sent, ['one']);
  memory.forget(two);
  memory.readsInto(one);
  t.same(sent, ['one'], 'a closed connection is not asked');
});
