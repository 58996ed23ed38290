/** A buffer is read into again as soon as nobody needs what is in it, and not before. */
import t from 'tap';
import { ReadBuffers } from '../../gateway/relay/read-buffers.ts';

/** As the socket would use it. */
function reader(buffers: ReadBuffers, onChunk: (chunk: Buffer) => void) {
  const { buffer, callback } = buffers.onread(onChunk);
  const next = buffer as () => Uint8Array;
  let target = next();
  return (text: string | number) => {
    const bytes = typeof text === 'number' ? Buffer.alloc(text) : Buffer.from(text);
    target.set(bytes);
    callback(bytes.length, target);
    target = next();
    return target;
  };
}

t.test('what is held stays as it is, what is not is written over', async (t) => {
  const buffers = new ReadBuffers();
  const kept: Buffer[] = [];
  let hold = true;
  const releases: (() => void)[] = [];
  const read = reader(buffers, (chunk) => {
    kept.push(chunk);
    if (hold) releases.push(buffers.hold());
  });
  const second = read('held');
  hold = false;
  const third = read('lost');
  t.equal(second, third, 'nobody needs it: the same again');
  read('last');
  t.equal(kept[0]?.toString(), 'held');
  t.equal(kept[1]?.toString(), 'last', 'the second chunk was written over');
  for (const release of releases) release();
  t.equal(read('x'), second, 'the one that is read into stays while nobody holds it');
});

t.test('a buffer held twice is free when both have let go', async (t) => {
  const buffers = new ReadBuffers();
  const releases: (() => void)[] = [];
  const read = reader(buffers, () => releases.push(buffers.hold(), buffers.hold()));
  const first = read('a');
  const [one, two] = releases.splice(0);
  one?.();
  const next = read('b');
  t.not(next, first);
  two?.();
  const free = read('c');
  t.not(free, next);
  t.equal(free.length, 65_536);
});

t.test('a connection that fills its buffer gets a larger one', async (t) => {
  const buffers = new ReadBuffers();
  const read = reader(buffers, () => undefined);
  t.equal(read(100).length, 65_536);
  t.equal(read(65_536).length, 262_144);
  t.equal(read(100).length, 262_144);
});
