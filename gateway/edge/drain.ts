/** Ends every connection of a gateway: idle ones at once, busy ones as their calls end, the rest when their time is up. */

import { deny } from '../core/denial.ts';
import type { CallerConnection } from './caller-connection.ts';
import type { Listener } from './listener.ts';

export interface Draining {
  readonly listeners: readonly Listener[];
  readonly callers: ReadonlySet<CallerConnection>;
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

/** Resolves when every connection is closed, or its time is up. */
export async function drainConnections(draining: Draining): Promise<void> {
  const { listeners, callers, drainMs, lingerMs, onCut } = draining;
  for (const listener of listeners) await listener.stopAccepting();
  for (const caller of [...callers]) caller.drain();
  await waitForEnd(draining, drainMs);
  const left = openOf(listeners);
  if (left === 0 || draining.stopped()) return;
  onCut(left);
  const denial = deny('stream', 'draining', 'The gateway is shutting down.', { retryAfterS: 1 });
  for (const caller of [...callers]) caller.cut(denial);
  await waitForEnd(draining, lingerMs);
}

async function waitForEnd({ listeners, stopped }: Draining, forMs: number): Promise<void> {
  const untilMs = performance.now() + forMs;
  while (openOf(listeners) > 0 && performance.now() < untilMs && !stopped()) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

function openOf(listeners: readonly Listener[]): number {
  return listeners.reduce((sum, listener) => sum + listener.connections, 0);
}
