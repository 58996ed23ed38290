/** Checks before anything is timed: all proxies admit and refuse the same callers over one cipher, and lose no byte. */

import { MIB } from '../../gateway/core/units.ts';
import { Caller } from './load.ts';
import { openCallers, requireStatus, withCaller } from './measure.ts';
import { HOST } from './names.ts';
import type { Rival } from './rivals.ts';
import { ask, CONNECTIONS } from './small-load.ts';
import { body, download, upload } from './stream-loads.ts';
import type { Side, Yard } from './yard.ts';

const WARM_REQUESTS = 1500;
const WARM_BYTES = 64 * MIB;
/** Requests on one caller connection, and the most connections to the node they may open. */
const KEPT = { requests: 40, connections: 4 };

/** Resolves to the cipher that all of them negotiated. Rejects if one does not do the work. */
export async function requireSameWork(yard: Yard, rivals: readonly Rival[]): Promise<string> {
  const ciphers = new Set<string>();
  for (const side of [yard.patchgate, ...rivals]) {
    const socket = await yard.connect(side);
    ciphers.add(`${socket.getProtocol()} ${socket.getCipher().name}`);
    socket.destroy();
    await withCaller(yard, side, async (caller) => {
      await upload(caller, '/up', body(MIB), MIB);
      await download(caller, MIB);
    });
    await requireCertificate(yard, side);
    await requireKeptConnections(yard, side);
  }
  for (const side of [yard.patchgate, ...rivals.filter(({ name }) => name === 'HAProxy')])
    await requireToken(yard, side);
  if (ciphers.size !== 1) throw new Error(`different ciphers: ${[...ciphers].join(', ')}`);
  return [...ciphers].join();
}

/** Rejects if a caller without a certificate gets an answer below 400. */
async function requireCertificate(yard: Yard, side: Side): Promise<void> {
  const socket = yard.stranger(side);
  let answer = '';
  socket.on('data', (piece: Buffer) => {
    answer += piece.toString('latin1');
  });
  socket.on('error', () => undefined);
  socket.write(`GET /v1/models/bench HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\n\r\n`);
  // `once` would reject because of the alert that ends the connection.
  await new Promise<void>((resolve) => socket.on('close', () => resolve()));
  if (/^HTTP\/1\.1 [123]/.test(answer)) throw new Error(`${side.name} admits callers without a certificate`);
}

async function requireKeptConnections(yard: Yard, side: Side): Promise<void> {
  await withCaller(yard, side, async (caller) => {
    const before = Number((await caller.get('/connections')).body);
    for (let left = KEPT.requests; left > 0; left--) await caller.get('/v1/models/bench');
    const opened = Number((await caller.get('/connections')).body) - before;
    if (opened > KEPT.connections) throw new Error(`${side.name} opened ${opened} connections to the node`);
  });
}

async function requireToken(yard: Yard, side: Side): Promise<void> {
  for (const token of [undefined, yard.badToken]) {
    const caller = new Caller(await yard.connect(side), token);
    requireStatus(await caller.get('/v1/models/bench'), 401, `${side.name} and a token it must refuse`);
    caller.close();
  }
}

export async function warmUp(yard: Yard, sides: readonly Side[]): Promise<void> {
  for (const side of sides) {
    const callers = await openCallers(yard, side, CONNECTIONS);
    await ask(callers, WARM_REQUESTS);
    for (const caller of callers) caller.close();
    await withCaller(yard, side, async (caller) => {
      await upload(caller, '/up', body(WARM_BYTES), WARM_BYTES);
      await download(caller, WARM_BYTES);
    });
  }
}
