/** `patchgate check`: every fault of a policy folder at once, without starting anything. */

import { type Command, required } from './command.ts';

export const check: Command = {
  name: 'check',
  summary:
    'report every fault in a policy folder and its certificates (at most a hundred per file, then their number) and warn about suspicious address lists; exit 1 if there is a fault',
  usage: '--config policies',
  options: { config: { type: 'string', default: 'policies' } },
  async run(values, terminal) {
    const { checkFolder } = await import('./check-folder.ts');
    return (await checkFolder(required(values, 'config'), terminal)) ? 0 : 1;
  },
};
