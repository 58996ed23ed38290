/** Ten thousand idle connections: the gateway's memory for each, and what remains after they have closed. */

import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { residentTogether } from './cpu.ts';
import type { IdleOrder, IdleReport } from './idle-callers.ts';
import { requireStatus, withCaller } from './measure.ts';
import { HOST } from './names.ts';
import { median } from './print.ts';
import { openRivals } from './rivals.ts';
import { freePort, openYard, type Side, stop, untilListening, type Yard } from './yard.ts';

export const IDLE_CONNECTIONS = 10_000;
/** KiB of resident memory per connection. */
export const IDLE_GOAL = 60;
/** Descriptors for files and for connections to the node. */
const OTHER_DESCRIPTORS = 200;
/** Processes of callers, each with its own loopback address. */
const CROWDS = 2;
/** Time for freed memory to be returned: V8 does so about ten seconds after a burst. */
const SETTLE_MS = 20_000;
const NEW_HANDSHAKES = 50;
const NOBODY_IS_LATE = `  limits: { connections: 20000, connectionsPerAddress: 20000 }
  timeouts: { head: 10m, keepAliveIdle: 10m }
`;

export interface IdleResult {
  readonly name: string;
  /** MiB before any caller connected. */
  readonly restMib: number;
  /** KiB per connection: after the handshake, and after one request on each. */
  readonly connectedKib: number;
  readonly askedKib: number;
  /** The same after all have closed, and after as many have connected and sent a request again. */
  readonly leftKib: number;
  readonly againKib: number;
  /** Median of a new handshake with its first request: before, and with all idle connections open. */
  readonly aloneMs: number;
  readonly besideMs: number;
  /** Connections that the proxy closed, and answers other than 200. */
  readonly lost: number;
}

/**
 * Measures and reports patchgate with one process and with two workers, HAProxy if it is installed, and Node's TLS
 * alone. Rejects if the limit on open descriptors is too low.
 */
export async function benchIdle(onResult: (result: IdleResult) => void): Promise<void> {
  requireDescriptors();
  for (const workers of [1, 2]) {
    const yard = await openYard(workers, NOBODY_IS_LATE);
    try {
      const name = `patchgate, workers: ${workers}`;
      onResult(await measureIdle(yard, { ...yard.patchgate, name }));
      if (workers > 1) continue;
      const { running } = await openRivals(yard, ['HAProxy'], '.');
      for (const side of [...running, await plainTls(yard)]) onResult(await measureIdle(yard, side));
    } finally {
      await yard.close();
    }
  }
}

/** Starts Node's TLS alone: the floor for any proxy written for Node. */
async function plainTls({ children, certificates }: Yard): Promise<Side> {
  const port = await freePort();
  const script = new URL('plain-tls-side.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [script, String(port), certificates], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  children.push(child);
  await untilListening(child, port);
  return { name: 'node:tls alone', pid: child.pid ?? 0, port };
}

/** Checks the soft limit, which Node raises to the hard limit at start and its children inherit. */
function requireDescriptors(): void {
  const [, soft] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
  const needed = IDLE_CONNECTIONS + OTHER_DESCRIPTORS;
  if (soft !== undefined && Number(soft) < needed)
    throw new Error(
      `the limit on open descriptors is ${soft}, expected at least ${needed}: ulimit -Hn ${needed}`,
    );
}

async function measureIdle(yard: Yard, side: Side): Promise<IdleResult> {
  const crowds: ChildProcess[] = [];
  const resident = (): number => residentTogether(side.pid);
  try {
    for (let index = 0; index < CROWDS; index++)
      crowds.push(fork(new URL('idle-callers.ts', import.meta.url)));
    const aloneMs = await handshakes(yard, side);
    const rest = resident();
    const kib = (): number => (resident() - rest) / 1024 / IDLE_CONNECTIONS;
    await open(crowds, yard, side);
    await settle();
    const connectedKib = kib();
    await ask(crowds, yard);
    await settle();
    const askedKib = kib();
    const besideMs = await handshakes(yard, side);
    await all(crowds, () => ({ order: 'close' }));
    await settle();
    const leftKib = kib();
    await open(crowds, yard, side);
    const { lost } = await ask(crowds, yard);
    await settle();
    const restMib = rest / 1024 / 1024;
    return {
      name: side.name,
      restMib,
      connectedKib,
      askedKib,
      leftKib,
      againKib: kib(),
      aloneMs,
      besideMs,
      lost,
    };
  } finally {
    for (const crowd of crowds) await stop(crowd);
  }
}

/** Opens all connections. Rejects if one fails. */
async function open(crowds: readonly ChildProcess[], yard: Yard, { port }: Side): Promise<void> {
  const { open: opened } = await all(crowds, (index) => ({
    order: 'open',
    count: IDLE_CONNECTIONS / CROWDS,
    tls: { ...yard.tls, host: '127.0.0.1', port, localAddress: `127.0.0.${index + 2}` },
  }));
  if (opened !== IDLE_CONNECTIONS) throw new Error(`opened ${opened} of ${IDLE_CONNECTIONS} connections`);
}

function ask(crowds: readonly ChildProcess[], { token }: Yard): Promise<IdleReport> {
  const request = `GET /v1/models/bench HTTP/1.1\r\nHost: ${HOST}\r\nAuthorization: Bearer ${token}\r\n\r\n`;
  return all(crowds, () => ({ order: 'ask', request }));
}

/** Sends an order to each crowd. Resolves to the sum of their reports when all are done. */
async function all(
  crowds: readonly ChildProcess[],
  orderOf: (index: number) => IdleOrder,
): Promise<IdleReport> {
  const reports = await Promise.all(
    crowds.map(async (crowd, index) => {
      const answer = once(crowd, 'message') as Promise<[IdleReport]>;
      crowd.send(orderOf(index));
      return (await answer)[0];
    }),
  );
  return reports.reduce((sum, each) => ({ open: sum.open + each.open, lost: sum.lost + each.lost }));
}

/** Resolves to the median in milliseconds of a new connection with one request. */
async function handshakes(yard: Yard, side: Side): Promise<number> {
  const tookMs: number[] = [];
  for (let left = NEW_HANDSHAKES; left > 0; left--) {
    const fromMs = performance.now();
    await withCaller(yard, side, async (caller) => {
      requireStatus(await caller.get('/v1/models/bench'), 200, 'a new connection');
    });
    tookMs.push(performance.now() - fromMs);
  }
  return median(tookMs);
}

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
