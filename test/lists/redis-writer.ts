/** A writer of lists into a Redis that may go away. */

import { Redis } from 'ioredis';
import type { Test } from 'tap';
import type { RunningServer } from './servers.ts';

/** Waits for Redis as long as it takes. Ends with the test. */
export function redisWriter(t: Test, { port }: RunningServer): Redis {
  const client = new Redis(port, '127.0.0.1', { maxRetriesPerRequest: null });
  client.on('error', () => undefined);
  t.teardown(() => client.disconnect());
  return client;
}
