/** Connections of callers to a plain server, whose requests are handled as the test says. */
import net, { type AddressInfo } from 'node:net';
import type { Test } from 'tap';
import { addressOf } from '../../gateway/core/address.ts';
import { Deadlines } from '../../gateway/core/deadlines.ts';
import type { Denial } from '../../gateway/core/denial.ts';
import type { ConnectionFacts, RequestHead } from '../../gateway/core/facts.ts';
import { CallerConnection } from '../../gateway/edge/caller-connection.ts';
import { Llhttp } from '../../gateway/http1/llhttp.ts';

export const facts: ConnectionFacts = {
  listener: 'edge',
  serverName: 'a.test',
  peer: addressOf(4, [0x7f000001]),
  peerPort: 1,
  certificate: { status: 'absent' },
  tlsVersion: 'TLSv1.3',
  tlsResumed: false,
};
export const timeouts = { headMs: 200, keepAliveIdleMs: 300, streamIdleMs: 400, lingerMs: 200 };

export type Handle = (caller: CallerConnection, head: RequestHead | Denial) => void;

export interface Harness {
  readonly port: number;
  readonly closed: () => number;
  /** Writes to all connections so far. */
  readonly writes: () => number;
}

/** Serves on a running clock. */
export async function serve(t: Test, handle: Handle): Promise<Harness> {
  const deadlines = new Deadlines(performance.now());
  const sweep = setInterval(() => deadlines.sweep(performance.now()), 20);
  t.teardown(() => clearInterval(sweep));
  return serveBy(t, deadlines, handle);
}

export async function serveBy(t: Test, deadlines: Deadlines, handle: Handle): Promise<Harness> {
  const llhttp = new Llhttp();
  let closed = 0;
  const written: (() => readonly unknown[])[] = [];
  const server = net.createServer((socket) => {
    written.push(t.capture(socket, 'write', socket.write));
    new CallerConnection(
      socket,
      socket,
      { facts, under: () => facts },
      {
        llhttp,
        deadlines,
        maxGatheredBytes: 64 * 1024,
        limits: { headBytes: 4096, headFields: 20 },
        timeouts,
        handle,
        onClosed: () => {
          closed += 1;
        },
      },
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.close();
  });
  let writes = 0;
  return {
    port: (server.address() as AddressInfo).port,
    closed: () => closed,
    writes: () => {
      for (const calls of written) writes += calls().length;
      return writes;
    },
  };
}

/** The server hears of a closed connection a little later than its peer. */
export async function settled(closed: () => number): Promise<number> {
  for (let turns = 0; closed() === 0 && turns < 200; turns += 1)
    await new Promise((resolve) => setTimeout(resolve, 10));
  return closed();
}

export const ignore = {
  unsentBytes: 0,
  onRoom: () => undefined,
  onCut: () => undefined,
  onCallerDrain: () => undefined,
  onBadBody: () => undefined,
  onCallerGone: () => undefined,
};
