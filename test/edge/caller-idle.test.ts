/** A caller counts as idle once it has taken its answer, and not before. */

import { once } from 'node:events';
import net from 'node:net';
import t, { type Test } from 'tap';
import { Deadlines } from '../../gateway/core/deadlines.ts';
import { MIB } from '../../gateway/core/units.ts';
import type { CallerConnection } from '../../gateway/edge/caller-connection.ts';
import { ignore, serveBy, settled, timeouts } from './caller-stage.ts';

const LARGE_BYTES = 64 * MIB;

/** A caller that was given a large answer and takes none of it yet. */
async function giveMuch(t: Test, deadlines: Deadlines) {
  const given = Promise.withResolvers<CallerConnection>();
  const { port, closed } = await serveBy(t, deadlines, (caller) => {
    caller.attach(ignore);
    caller.write(Buffer.alloc(LARGE_BYTES));
    caller.finish(true);
    given.resolve(caller);
  });
  const socket = net.connect(port, '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\nHost: a.test\r\n\r\n'));
  socket.pause();
  socket.on('error', () => undefined);
  t.teardown(() => socket.destroy());
  const caller = await given.promise;
  return { caller, socket, closed };
}

async function untilTaken(caller: CallerConnection): Promise<void> {
  while (caller.unsentBytes > 0) await new Promise((resolve) => setTimeout(resolve, 5));
}

t.test('a caller is idle from the moment it has taken its answer', async (t) => {
  const deadlines = new Deadlines(0);
  const { caller, socket, closed } = await giveMuch(t, deadlines);
  deadlines.sweep(timeouts.keepAliveIdleMs);
  let bytes = 0;
  socket.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  socket.resume();
  await untilTaken(caller);
  deadlines.sweep(2 * timeouts.keepAliveIdleMs - 1);
  while (bytes < LARGE_BYTES) await once(socket, 'data');
  t.equal(closed(), 0);
  deadlines.sweep(2 * timeouts.keepAliveIdleMs);
  t.equal(await settled(closed), 1);
  t.equal(bytes, LARGE_BYTES);
});

t.test('a caller that stops taking its answer is given the idle time of a stream', async (t) => {
  const deadlines = new Deadlines(0);
  const { caller, closed } = await giveMuch(t, deadlines);
  t.ok(caller.unsentBytes > 0);
  deadlines.sweep(timeouts.keepAliveIdleMs);
  t.equal(deadlines.size, 1);
  deadlines.sweep(timeouts.keepAliveIdleMs + timeouts.streamIdleMs - 1);
  t.equal(deadlines.size, 1);
  deadlines.sweep(timeouts.keepAliveIdleMs + timeouts.streamIdleMs);
  t.equal(deadlines.size, 0);
  t.equal(await settled(closed), 1);
});
