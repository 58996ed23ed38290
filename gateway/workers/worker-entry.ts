/** Entry point of a worker process: takes orders from its primary, and exits when the primary is gone. */

import { tidyHeap } from '../tidy-heap.ts';
import type { FromWorker, ToWorker } from './messages.ts';
import { runWorker } from './worker.ts';

// A signal to the whole process group is for the primary, which then sends orders.
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
