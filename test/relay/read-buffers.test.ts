/** A buffer is reused as soon as nobody needs its contents, and not before. */
import t from 'tap';
import { ReadBuffers } from '../../gateway/relay/read-buffers.ts';

/** Uses the buffers as a socket would. */
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

t.test('held bytes stay as they are, and others are overwritten', async (t) => {
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
  t.equal(second, third, 'the same buffer is reused, since nobody needs it');
  read('last');
  t.equal(kept[0]?.toString(), 'held');
  t.equal(kept[1]?.toString(), 'last', 'the second chunk was overwritten');
  for (const release of releases) release();
  t.equal(read('x'), second, 'the buffer in use stays while nobody holds it');
});

t.test('a buffer held twice is free when both have released it', async (t) => {
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
  t.equal(free.length, 16_384);
});

t.test('a connection that fills its buffer gets a larger one', async (t) => {
  const buffers = new ReadBuffers();
  const read = reader(buffers, () => undefined);
  t.equal(read(100).length, 16_384);
  t.equal(read(16_384).length, 262_144);
  t.equal(read(100).length, 262_144);
});

t.test('a long response is read in huge buffers, on a few connections at once', async (t) => {
  const MIB = 1024 * 1024;
  const flow = () => {
    const buffers = new ReadBuffers();
    const read = reader(buffers, () => undefined);
    let { length } = read(16_384);
    for (let flowed = 0; flowed <= 16 * MIB; flowed += length) length = read(length).length;
    return { buffers, read, mebibytes: length / MIB };
  };
  const connections = Array.from({ length: 10 }, flow);
  t.same(
    connections.map(({ mebibytes }) => mebibytes),
    [1, 1, 1, 1, 1, 1, 1, 1, 0.25, 0.25],
  );
  const [first, second] = connections;
  first?.buffers.rest();
  t.equal(flow().mebibytes, 0.25, 'its buffer is still huge');
  t.equal(first?.read(100).length, 16_384);
  const another = flow();
  t.equal(another.mebibytes, 1);
  t.equal(flow().mebibytes, 0.25);
  second?.buffers.close();
  second?.buffers.close();
  const last = flow();
  t.equal(last.mebibytes, 1);
  t.equal(flow().mebibytes, 0.25);
  for (const { buffers } of [...connections, another, last]) buffers.close();
});

t.test('a connection at rest reads into a small buffer again', async (t) => {
  const buffers = new ReadBuffers();
  let isLast = false;
  const read = reader(buffers, () => {
    if (isLast) buffers.rest();
  });
  t.equal(read(16_384).length, 262_144);
  isLast = true;
  t.equal(read(262_144).length, 16_384, 'also if the last read filled it');
});
