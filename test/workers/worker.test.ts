/** A worker before it accepts connections. */
import t from 'tap';
import type { FromWorker, ToWorker } from '../../gateway/workers/messages.ts';
import { runWorker } from '../../gateway/workers/worker.ts';

t.test('a worker that cannot use what it is handed first says so and is not waited for', async (t) => {
  const said: FromWorker[] = [];
  let hear: (message: ToWorker) => void = () => undefined;
  let exited = false;
  runWorker(
    {
      send: (message) => void said.push(message),
      onMessage: (listener) => {
        hear = listener;
      },
    },
    () => {
      exited = true;
    },
  );
  const addresses = new Map();
  const settings = { number: 1, processes: 2, readsInPlace: false, reusePort: true, addresses, drained: [] };
  hear({ kind: 'start', settings: { ...settings, audit: undefined } });
  hear({ kind: 'handed', message: { kind: 'nobody' } });
  t.match(
    said.find(({ kind }) => kind === 'failed'),
    { kind: 'failed', reason: /invalid message/ },
  );
  hear({ kind: 'stop' });
  t.ok(exited);
});
