/** Ends every connection of a gateway: quiet ones soon, busy ones as their calls end, the rest when their time is up. */

import { deny } from '../core/denial.ts';
import type { CallerConnection } from './caller-connection.ts';
import type { Listener } from './listener.ts';

type DrainedListener = Pick<Listener, 'connections' | 'stopAccepting'>;

export interface Draining {
  readonly listeners: readonly DrainedListener[];
  readonly callers: ReadonlySet<Pick<CallerConnection, 'drain' | 'cut'>>;
  /** For running calls to end. */
  readonly drainMs: number;
  /** For answers to be read by those that were cut. */
  readonly lingerMs: number;
  /** Waiting is over. */
  readonly stopped: () => boolean;
  /** So many connections are cut at the end of the drain time. */
  readonly onCut: (connections: number) => void;
}

const LOOK_MS = 50;
/**
 * A connection that was in use a moment ago is likely to be used again: the next request on it is answered, and told that
 * it was the last. One that has been idle for longer is closed.
 */
const QUIET_MS = 3000;

/** Resolves when every connection is closed, or its time is up. */
export async function drainConnections(draining: Draining): Promise<void> {
  const { listeners, callers, drainMs, lingerMs, onCut } = draining;
  await Promise.all(listeners.map((listener) => listener.stopAccepting()));
  const quietMs = Math.min(QUIET_MS, drainMs / 2);
  await waitForEnd(draining, drainMs, () => {
    for (const caller of [...callers]) caller.drain(quietMs);
  });
  const left = openOf(listeners);
  if (left === 0 || draining.stopped()) return;
  onCut(left);
  const denial = deny('stream', 'draining', 'The gateway is shutting down.', { retryAfterS: 1 });
  for (const caller of [...callers]) caller.cut(denial);
  await waitForEnd(draining, lingerMs, () => undefined);
}

async function waitForEnd({ listeners, stopped }: Draining, forMs: number, look: () => void): Promise<void> {
  const untilMs = performance.now() + forMs;
  while (openOf(listeners) > 0 && performance.now() < untilMs && !stopped()) {
    look();
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    // What came while this process stood still is read first: its connection was not quiet.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function openOf(listeners: readonly DrainedListener[]): number {
  return listeners.reduce((sum, listener) => sum + listener.connections, 0);
}
