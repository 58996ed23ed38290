/** Bytes leave in the order they were given, those side by side in memory as one piece, and are let go when they are written. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { JoinedWrites } from '../../gateway/relay/joined-writes.ts';

async function pair(t: Test): Promise<{ readonly socket: Socket; readonly received: () => Promise<string> }> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [other] = (await once(server, 'connection')) as [Socket];
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

t.test('what lies side by side is one write, and all is let go of', async (t) => {
  const { socket, received } = await pair(t);
  const writes: number[] = [];
  const write = socket.write.bind(socket);
  socket.write = ((bytes: Buffer, ...rest: []) => {
    writes.push(bytes.length);
    return write(bytes, ...rest);
  }) as typeof socket.write;
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

t.test(
  'nothing overtakes bytes that wait for others: the next request stands behind the body before it',
  async (t) => {
    const { socket, received } = await pair(t);
    const output = new JoinedWrites(socket);
    const memory = Buffer.from('the end of a body');
    output.write('head ');
    output.write(memory, () => undefined);
    output.writeNow('|GET / HTTP/1.1|');
    output.write('more', undefined);
    await new Promise((resolve) => setImmediate(resolve));
    t.equal(await received(), 'head the end of a body|GET / HTTP/1.1|more');
  },
);
