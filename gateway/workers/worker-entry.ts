/** Where the process of a worker begins: what it is told comes from its primary, and without one it ends. */

import { tidyHeap } from '../tidy-heap.ts';
import type { FromWorker, ToWorker } from './messages.ts';
import { runWorker } from './worker.ts';

// A signal to the whole group of processes is for the primary, which says what is to be done.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
process.on('disconnect', () => process.exit(1));

runWorker(
  {
    send: (message: FromWorker, onSent) => {
      if (process.connected) process.send?.(message, undefined, undefined, () => onSent?.());
    },
    onMessage: (hear) => void process.on('message', (message: ToWorker) => hear(message)),
  },
  () => process.exit(0),
  tidyHeap,
);
