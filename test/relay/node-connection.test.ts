/** A connection to a node can be given up in any state, and its owner hears of it. */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import t from 'tap';
import { Deadlines } from '../../gateway/core/deadlines.ts';
import { Llhttp } from '../../gateway/http1/llhttp.ts';
import { NodeConnection } from '../../gateway/relay/node-connection.ts';

t.test('a connection that was just ended, like a tunnel, can be reset in the same moment', async (t) => {
  const server = createServer((socket) => socket.on('error', () => undefined).resume());
  t.teardown(() => server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const node = { url: `http://127.0.0.1:${port}`, host: '127.0.0.1', port, weight: 1, secure: false };
  const to = { node, address: node.host, connectMs: 5000, securedBy: undefined };
  const context = { llhttp: new Llhttp(), deadlines: new Deadlines(0) };
  await t.resolves(
    new Promise<void>((resolve) => {
      new NodeConnection(to, context, {
        onConnected: (connection) => {
          connection.end();
          connection.reset();
        },
        onReusable: () => undefined,
        onClosed: () => resolve(),
      });
    }),
  );
  t.equal(context.deadlines.size, 0);
});
