/** `patchgate test`: table tests of a policy, decided by the same function as requests. */

import { type Command, optional, UsageError } from './command.ts';

export const test: Command = {
  name: 'test',
  summary:
    'run table tests of a policy and report which routes and rules they cover; exit 1 if a case fails or coverage is too low',
  usage: 'FILE… [--fail-under PERCENT]',
  takesWords: true,
  options: { 'fail-under': { type: 'string', default: '0' } },
  async run(values, terminal, files) {
    if (files.length === 0) throw new UsageError('missing FILE');
    const failUnder = Number(optional(values, 'fail-under'));
    if (!(failUnder >= 0 && failUnder <= 100))
      throw new UsageError(`--fail-under: expected a number from 0 to 100, got ${values['fail-under']}`);
    const { runTestFiles } = await import('./run-test-files.ts');
    return (await runTestFiles(files, failUnder, terminal)) ? 0 : 1;
  },
};
