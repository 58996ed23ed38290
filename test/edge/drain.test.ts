/** How the connections of a draining gateway are inspected. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import t from 'tap';
import { drainConnections } from '../../gateway/edge/drain.ts';

const STANDSTILL_MS = 200;

t.test('bytes that arrived during a standstill are read before a connection is quiet', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  t.teardown(() => server.close());
  await once(server, 'listening');
  const caller = connect((server.address() as AddressInfo).port, '127.0.0.1').setNoDelay();
  t.teardown(() => caller.destroy());
  const [socket] = (await once(server, 'connection')) as [Socket];
  t.teardown(() => socket.destroy());
  let heard = false;
  socket.on('data', () => {
    heard = true;
  });
  const heardAtLook: boolean[] = [];
  const listener = { connections: 1, stopAccepting: async (): Promise<void> => undefined };
  const looked = {
    drain: (): void => {
      heardAtLook.push(heard);
      if (heardAtLook.length === 2) listener.connections = 0;
      else setImmediate(standStill);
    },
    cut: (): void => undefined,
  };
  const standStill = (): void => {
    caller.write('a request');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, STANDSTILL_MS);
  };
  await drainConnections({
    listeners: [listener],
    callers: new Set([looked]),
    drainMs: 60_000,
    lingerMs: 0,
    stopped: () => false,
    onCut: () => t.fail('nothing is cut'),
  });
  t.same(heardAtLook, [false, true]);
});
