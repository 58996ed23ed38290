/** `patchgate audit verify`: finds lines of an audit log that were changed, removed, inserted or moved. */

import type { VerificationReport } from '../audit/verify.ts';
import { type Command, optional, type Terminal, UsageError } from './command.ts';

const HASH = /^[0-9a-f]{64}$/;
/** Files to which the log moved an unfinished last line, which was never confirmed to be on disk. */
const TORN = /\.torn\.[^/]*$/;

export const audit: Command = {
  name: 'audit',
  summary:
    'check every line of an audit log against its hash chain, with its files in any order; exit 1 and file:line of each line that was changed, removed, inserted or moved',
  usage: 'verify FILE… [--expect-first HASH] [--expect-last HASH] [--contains HASH]',
  options: {
    'expect-first': { type: 'string' },
    'expect-last': { type: 'string' },
    contains: { type: 'string', multiple: true },
  },
  takesWords: true,
  async run(values, terminal, [verb, ...files]) {
    if (verb !== 'verify') throw new UsageError(`expected subcommand verify, got ${verb ?? 'none'}`);
    if (files.length === 0) throw new UsageError('missing FILE');
    const first = hashOf('expect-first', optional(values, 'expect-first'));
    const last = hashOf('expect-last', optional(values, 'expect-last'));
    const given = values['contains'];
    const contains = (Array.isArray(given) ? given : []).map(
      (text) => hashOf('contains', String(text)) ?? '',
    );
    const kept = files.filter((file) => !TORN.test(file));
    for (const file of files)
      if (TORN.test(file)) terminal.warn(`${file}: skipped, an unfinished write that the log set aside\n`);
    const { verifyFiles } = await import('../audit/verify.ts');
    const verification = await verifyFiles(kept, contains).catch((error: Error) => {
      throw new UsageError(error.message);
    });
    return tell(verification, first, last, terminal) ? 0 : 1;
  },
};

function hashOf(option: string, text: string | undefined): string | undefined {
  if (text !== undefined && !HASH.test(text))
    throw new UsageError(`--${option}: expected 64 hexadecimal digits in lower case, got ${text}`);
  return text;
}

/** Prints the report. Returns whether there is no problem. */
function tell(
  { chains, faults, more, missing }: VerificationReport,
  first: string | undefined,
  last: string | undefined,
  terminal: Terminal,
): boolean {
  const problems = [...faults];
  if (more > 0) problems.push(`and ${more} more`);
  for (const hash of missing) problems.push(`no line has the hash ${hash}`);
  if (first !== undefined && !chains.some(({ firstHash }) => firstHash === first))
    problems.push(`no chain begins with the hash ${first}`);
  if (last !== undefined && !chains.some(({ head }) => head.hash === last))
    problems.push(`no chain ends with the hash ${last}`);
  if (chains.length === 0) problems.push('no audit log lines found');
  for (const problem of problems) terminal.warn(`${problem}\n`);
  for (const { chain, lines, firstSequence, head } of chains) {
    const before = firstSequence === 1 ? '' : ', earlier lines are not in these files';
    terminal.write(
      `chain ${chain}: ${lines} lines, ${firstSequence} to ${head.sequence}${before}\n  ends with ${head.hash}\n`,
    );
  }
  return problems.length === 0;
}
