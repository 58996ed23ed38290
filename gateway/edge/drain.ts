/** Closes every connection of a gateway: idle ones soon, busy ones as their calls end, the rest when the time is up. */

import { deny } from '../core/denial.ts';
import type { CallerConnection } from './caller-connection.ts';
import type { Listener } from './listener.ts';

type DrainedListener = Pick<Listener, 'connections' | 'stopAccepting'>;

export interface Draining {
  readonly listeners: readonly DrainedListener[];
  readonly callers: ReadonlySet<Pick<CallerConnection, 'drain' | 'cut'>>;
  /** Time for running calls to end. */
  readonly drainMs: number;
  /** Time for callers whose calls were cut to read the answer. */
  readonly lingerMs: number;
  /** Whether to stop waiting. */
  readonly stopped: () => boolean;
  /** Called with the number of connections that are cut at the end of the drain time. */
  readonly onCut: (connections: number) => void;
}

const LOOK_MS = 50;
/**
 * A connection used a moment ago is likely to be used again: its next request is answered, with `Connection: close`.
 * One that has been idle for longer is closed.
 */
const QUIET_MS = 3000;

/** Resolves when every connection is closed, or the time is up. */
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
    // First read what arrived while this process was stalled: its connection is not idle.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function openOf(listeners: readonly DrainedListener[]): number {
  return listeners.reduce((sum, listener) => sum + listener.connections, 0);
}
