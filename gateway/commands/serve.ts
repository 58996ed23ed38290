/** `patchgate serve`: runs the gateway until a signal ends it. */

import { formatFault } from '../core/fault.ts';
import type { StartOutcome } from '../gateway.ts';
import { type Command, required } from './command.ts';

export const serve: Command = {
  name: 'serve',
  summary: 'run the gateway',
  usage: '--config policies',
  options: { config: { type: 'string', default: 'policies' } },
  async run(values, terminal) {
    const starting = start(required(values, 'config'), terminal.version);
    // Without a handler SIGHUP ends the process. One that arrives during the start causes a reload right after it.
    terminal.onSignal('SIGHUP', () => {
      starting.then(({ gateway }) => gateway?.reload()).catch(() => undefined);
    });
    const { gateway, faults } = await starting;
    for (const fault of faults) terminal.warn(`${formatFault(fault)}\n`);
    if (gateway === undefined) return 1;
    return new Promise((resolve) => {
      void gateway.failed.then((error) => {
        terminal.warn(`patchgate: ${error.message}\n`);
        resolve(1);
      });
      let stopping = false;
      const stop = (): void => {
        if (stopping) gateway.stopNow();
        else
          gateway.drain().then(
            () => resolve(0),
            () => resolve(1),
          );
        stopping = true;
      };
      terminal.onSignal('SIGTERM', stop);
      terminal.onSignal('SIGINT', stop);
    });
  },
};

async function start(policyFolder: string, version: string): Promise<StartOutcome> {
  const { startGateway } = await import('../gateway.ts');
  const { createLog } = await import('../observe/log.ts');
  const { tidyHeap } = await import('../tidy-heap.ts');
  return startGateway({ policyFolder, version, log: createLog('info'), tidy: tidyHeap });
}
