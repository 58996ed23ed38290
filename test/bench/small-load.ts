/** Small requests on kept connections, with the whole policy, log and metrics, and a token seen before. */

import type { Caller } from './load.ts';
import { type Load, measured, openCallers, requireStatus } from './measure.ts';

export const CONNECTIONS = 8;

/**
 * Sends `count` requests, divided among the callers; each caller sends one at a time, and every head twice in a row: a
 * repeated head costs less, and in practice not all heads are repeated.
 */
export async function ask(callers: readonly Caller[], count: number): Promise<void> {
  await Promise.all(
    callers.map(async (caller) => {
      for (let left = count / callers.length; left > 0; left--) {
        const path = `/v1/models/bench?n=${Math.ceil(left / 2)}`;
        requireStatus(await caller.get(path), 200, 'a small request');
      }
    }),
  );
}

/** Connections are opened before the measurement starts; handshakes are measured separately. */
export function smallLoad(requests: number): Load {
  return {
    name: 'small request',
    unit: 'µs',
    rivals: ['HAProxy', 'HAProxy, mTLS only', 'nginx', 'http-proxy', '@fastify/http-proxy'],
    goals: { HAProxy: 0.35, 'HAProxy, mTLS only': 1.5, 'http-proxy': 1 / 3, '@fastify/http-proxy': 1 / 3 },
    async run(yard, side) {
      const callers = await openCallers(yard, side, CONNECTIONS);
      await ask(callers, CONNECTIONS * 10);
      const ns = await measured(side, () => ask(callers, requests));
      for (const caller of callers) caller.close();
      return ns / 1000 / requests;
    },
  };
}
