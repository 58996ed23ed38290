/** Records lie side by side in a slab, which is reused when nobody needs its contents. */

import { Socket } from 'node:net';
import t from 'tap';
import { ownReadsWork, readIntoOwn } from '../../gateway/edge/own-reads.ts';
import { createRecordMemory, RECORD_BYTES, RecordMemory } from '../../gateway/edge/record-memory.ts';
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

t.test('records lie side by side until the slab is full', async (t) => {
  const slab = new RecordMemory().take();
  slab.hold();
  for (let at = 0; at + RECORD_BYTES <= 131_072; at += 10_000) {
    const view = slab.next();
    if (view?.byteOffset !== at) t.equal(view?.byteOffset, at);
    t.equal(view?.length, RECORD_BYTES);
    slab.take(10_000);
  }
  t.equal(slab.next(), undefined);
});

t.test('a slab nobody holds is filled from the start again', async (t) => {
  const slab = new RecordMemory().take();
  slab.take(1000);
  const release = slab.hold();
  t.equal(slab.next()?.byteOffset, 1000);
  release();
  t.equal(slab.next()?.byteOffset, 0);
});

t.test('an abandoned slab is reused once nobody needs it, and only once', async (t) => {
  const memory = new RecordMemory();
  const slab = memory.take();
  const [one, two] = [slab.hold(), slab.hold()];
  slab.leave();
  one();
  t.not(memory.take(), slab, 'the slab is still needed');
  two();
  t.equal(memory.take(), slab);
  t.not(memory.take(), slab);
});
