/** The command line without a process of its own: output and exit status at a fraction of the cost. */

import { runCommandLine } from '../../gateway/commands/command-line.ts';

/** Each command also has tests as a process, for what only a process shows: that it ends, and how. */
export async function runHere(...words: readonly string[]) {
  const output = { out: '', err: '' };
  const status = await runCommandLine(words, {
    version: '0.0.0',
    workingFolder: '.',
    write: (text) => {
      output.out += text;
    },
    warn: (text) => {
      output.err += text;
    },
    isTerminal: false,
    colours: false,
    columns: 80,
    onSignal: () => undefined,
  });
  return { status, ...output };
}
