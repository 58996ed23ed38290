/** `patchgate demo`: tenants, nodes, gateway and a training run on loopback, or the files docker-compose.yml needs. */

import { fileURLToPath } from 'node:url';
import { type Command, optional, UsageError } from './command.ts';

export const demo: Command = {
  name: 'demo',
  summary:
    'train a small network and push every epoch through a gateway, all on this machine; with --prepare: write the files docker-compose.yml needs',
  usage: '[--once] | --prepare FOLDER',
  options: { once: { type: 'boolean', default: false }, prepare: { type: 'string' } },
  async run(values, terminal) {
    if (values['prepare'] !== undefined) {
      const folder = optional(values, 'prepare');
      if (folder === '' || folder === undefined || values['once'] === true)
        throw new UsageError('--prepare: expected a folder, and no --once');
      const { prepareStack } = await import('../demo/prepare-stack.ts');
      for (const line of await prepareStack(folder)) terminal.write(`${line}\n`);
      return 0;
    }
    const { runDemo } = await import('../demo/story.ts');
    const stop = new AbortController();
    terminal.onSignal('SIGINT', () => stop.abort());
    terminal.onSignal('SIGTERM', () => stop.abort());
    terminal.onSignal('SIGHUP', () => stop.abort());
    const worked = await runDemo({
      certificatesFolder: fileURLToPath(new URL('../../certs', import.meta.url)),
      version: terminal.version,
      write: (text) => terminal.write(text),
      workingFolder: terminal.workingFolder,
      once: values['once'] === true,
      colours: terminal.colours,
      signal: stop.signal,
    });
    return worked ? 0 : 1;
  },
};
