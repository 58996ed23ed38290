/** `patchgate demo`: tenants, nodes, gateway and a training run on loopback. */

import { fileURLToPath } from 'node:url';
import type { Command } from './command.ts';

export const demo: Command = {
  name: 'demo',
  summary: 'train a small network and push every epoch through a gateway, all on this machine',
  usage: '[--once]',
  options: { once: { type: 'boolean', default: false } },
  async run(values, terminal) {
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
