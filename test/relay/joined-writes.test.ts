/** Bytes leave in order, adjacent ones as one piece, and are released once written. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { writeGathered } from '../../gateway/net/turn-end.ts';
import { JoinedWrites } from '../../gateway/relay/joined-writes.ts';

async function pair(t: Test): Promise<{ readonly socket: Socket; readonly received: () => Promise<string> }> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [[other]] = (await Promise.all([once(server, 'connection'), once(socket, 'connect')])) as [
    [Socket],
    unknown,
  ];
  t.teardown(() => {
    socket.destroy();
    server.close();
  });
  const received = async (): Promise<string> => {
    socket.end();
    let text = '';
    for await (const piece of other) text += piece.toString('latin1');
    return text;
  };
  return { socket, received };
}

/** The length of each write from now on. */
function writesOf(socket: Socket): readonly number[] {
  const lengths: number[] = [];
  const write = socket.write.bind(socket);
  socket.write = ((bytes: Buffer | string, ...rest: []) => {
    lengths.push(bytes.length);
    return write(bytes, ...rest);
  }) as typeof socket.write;
  return lengths;
}

t.test('pieces of text become one write at their place among the bytes', async (t) => {
  const { socket, received } = await pair(t);
  const writes = writesOf(socket);
  const output = new JoinedWrites(socket);
  for (let left = 1000; left > 0; left--) output.write('1\r\na\r\n');
  output.write(Buffer.from('bytes'), () => undefined);
  output.write('text');
  await new Promise((resolve) => setImmediate(resolve));
  t.same(writes, [6000, 5, 4]);
  t.equal(await received(), `${'1\r\na\r\n'.repeat(1000)}bytestext`);
});

t.test('accumulated text is not kept to the end of the turn', async (t) => {
  const { socket } = await pair(t);
  const writes = writesOf(socket);
  const output = new JoinedWrites(socket);
  for (let left = 10; left > 0; left--) output.write('x'.repeat(10_000));
  t.same(writes, [70_000]);
});

t.test('adjacent bytes become one write, and all are released', async (t) => {
  const { socket, received } = await pair(t);
  const writes = writesOf(socket);
  const output = new JoinedWrites(socket);
  const memory = Buffer.from('abcdefghij');
  let released = 0;
  const release = (): void => {
    released += 1;
  };
  output.write(memory.subarray(0, 3), release);
  output.write(memory.subarray(3, 6), release);
  output.write(memory.subarray(8, 10), release);
  await new Promise((resolve) => setImmediate(resolve));
  t.same(writes, [6, 2]);
  t.equal(await received(), 'abcdefij');
  t.equal(released, 3);
});

t.test('bytes that the kernel takes at once are released at once', async (t) => {
  const { socket } = await pair(t);
  const output = new JoinedWrites(socket);
  let released = 0;
  output.write(Buffer.from('taken at once'), () => {
    released += 1;
  });
  t.equal(released, 0);
  writeGathered();
  t.equal(released, 1);
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(released, 1, 'only once');
});

t.test('bytes that wait for the kernel are released when they are written', async (t) => {
  const { socket, received } = await pair(t);
  const output = new JoinedWrites(socket);
  const memory = Buffer.alloc(16 * 1024 * 1024, 'x');
  let released = 0;
  output.write(memory, () => {
    released += 1;
  });
  writeGathered();
  t.equal(released, 0);
  t.equal((await received()).length, memory.length);
  t.equal(released, 1);
});

t.test(
  'only what left before this turn makes the writer wait, and no longer than until it has drained',
  async (t) => {
    const { socket } = await pair(t);
    const output = new JoinedWrites(socket);
    const memory = Buffer.alloc(16 * 1024 * 1024, 'x');
    const write = (): boolean => output.write(memory, () => undefined);
    t.equal(write(), true);
    t.equal(write(), true, 'the kernel may yet take all of it');
    writeGathered();
    t.equal(write(), false);
    Object.defineProperty(socket, 'writableNeedDrain', { value: false });
    t.equal(write(), true, 'it has drained in this turn');
  },
);

t.test('nothing overtakes waiting bytes, so the next request follows the body before it', async (t) => {
  const { socket, received } = await pair(t);
  const output = new JoinedWrites(socket);
  const memory = Buffer.from('the end of a body');
  output.write('head ');
  output.write(memory, () => undefined);
  output.writeNow('|GET / HTTP/1.1|');
  output.write('more', undefined);
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(await received(), 'head the end of a body|GET / HTTP/1.1|more');
});
