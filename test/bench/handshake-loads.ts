/** Mutual TLS handshakes, full and resumed. */

import { once } from 'node:events';
import { connect as dial } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { type Load, measured } from './measure.ts';
import { median, print, spread } from './print.ts';
import type { Side, Yard } from './yard.ts';

const HANDSHAKES = 150;
/** The first handshakes of a gateway in JavaScript cost twice as much; no real gateway serves so few. */
const WARM_HANDSHAKES = 600;

/**
 * Opens connections, one after another, that the caller closes at once. Resolves to µs of CPU per connection. A proxy
 * that reads the close together with the handshake, as patchgate does, writes no tickets; HAProxy does, and a log line.
 */
async function handshakes(
  yard: Yard,
  side: Side,
  session: Buffer | undefined,
  count = HANDSHAKES,
): Promise<number> {
  const ns = await measured(side, async () => {
    for (let left = count; left > 0; left--) {
      const socket = await yard.connect(side, session);
      if (socket.isSessionReused() !== (session !== undefined))
        throw new Error(`${side.name}: expected ${session === undefined ? 'a full' : 'a resumed'} handshake`);
      await closed(socket);
    }
  });
  return ns / 1000 / count;
}

/** Closes the connection. Resolves when both sides have seen the end, before the next handshake begins. */
async function closed(socket: TLSSocket): Promise<void> {
  const end = once(socket, 'close');
  socket.resume();
  socket.end();
  await end;
}

async function sessionOf(yard: Yard, side: Side): Promise<Buffer> {
  const first = await yard.connect(side);
  const [session] = (await once(first, 'session')) as [Buffer];
  await closed(first);
  return session;
}

export const fullLoad: Load = {
  name: 'handshake, full and mutual',
  unit: 'µs',
  rivals: ['HAProxy', 'nginx', 'http-proxy'],
  goals: { HAProxy: 1 },
  warmUp: async (yard, side) => void (await handshakes(yard, side, undefined, WARM_HANDSHAKES)),
  run: (yard, side) => handshakes(yard, side, undefined),
};

export const resumedLoad: Load = {
  name: 'handshake, resumed',
  unit: 'µs',
  rivals: ['HAProxy', 'nginx', 'http-proxy'],
  goals: {},
  warmUp: async (yard, side) =>
    void (await handshakes(yard, side, await sessionOf(yard, side), WARM_HANDSHAKES)),
  run: async (yard, side) => handshakes(yard, side, await sessionOf(yard, side)),
};

/** Opens TCP connections and closes them without sending a byte: the base cost, to which a handshake adds. µs each. */
async function bareConnections(side: Side): Promise<number> {
  const ns = await measured(side, async () => {
    for (let left = HANDSHAKES; left > 0; left--) {
      const socket = dial(side.port, '127.0.0.1');
      await once(socket, 'connect');
      const end = once(socket, 'close');
      socket.resume();
      socket.end();
      await end;
    }
  });
  return ns / 1000 / HANDSHAKES;
}

/** Prints what resumption saves on each side; full, resumed and bare connections take turns. */
export async function reportResumption(yard: Yard, sides: readonly Side[], rounds: number): Promise<void> {
  print(`\nhandshakes, resumed and full, µs of the proxy's CPU, medians of ${rounds} rounds`);
  for (const side of sides) {
    const session = await sessionOf(yard, side);
    const found: { full: number; again: number; bare: number }[] = [];
    for (let left = rounds; left > 0; left--) {
      const [full1, again1, bare1] = await inTurns(yard, side, session);
      const [full2, again2, bare2] = await inTurns(yard, side, session);
      found.push({ full: (full1 + full2) / 2, again: (again1 + again2) / 2, bare: (bare1 + bare2) / 2 });
    }
    const middle = (pick: (each: (typeof found)[number]) => number): string =>
      median(found.map(pick)).toFixed(0);
    print(
      `  ${side.name}: full ${middle((r) => r.full)}, resumed ${middle((r) => r.again)}, no handshake ${middle((r) => r.bare)}`,
    );
    print(`    resumed / full, whole connection        ${spread(found.map((r) => r.again / r.full))}`);
    print(
      `    resumed / full, handshake alone         ${spread(found.map((r) => (r.again - r.bare) / (r.full - r.bare)))}`,
    );
  }
}

async function inTurns(yard: Yard, side: Side, session: Buffer): Promise<readonly [number, number, number]> {
  return [
    await handshakes(yard, side, undefined),
    await handshakes(yard, side, session),
    await bareConnections(side),
  ];
}
