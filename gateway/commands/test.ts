/** `patchgate test`: table tests of a policy, decided by the function that decides requests. */

import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { formatFault, type PolicyFault } from '../core/fault.ts';
import { Rehearsal } from '../explain/rehearsal.ts';
import { loadPolicy } from '../policy/load.ts';
import { readFile as readPolicyFile } from '../policy/read.ts';
import { Coverage } from '../policy-test/coverage.ts';
import { type CaseResult, runCases } from '../policy-test/run-cases.ts';
import { type TestFile, testFile } from '../policy-test/test-file.ts';
import { type Command, optional, type Terminal, UsageError } from './command.ts';

export const test: Command = {
  name: 'test',
  summary:
    'run table tests of a policy, with the routes and rules they cover; exit 1 if a case fails or too little is covered',
  usage: 'FILE… [--fail-under PERCENT]',
  takesWords: true,
  options: { 'fail-under': { type: 'string', default: '0' } },
  async run(values, terminal, files) {
    if (files.length === 0) throw new UsageError('which test file?');
    const failUnder = Number(optional(values, 'fail-under'));
    if (!(failUnder >= 0 && failUnder <= 100)) throw new UsageError('--fail-under is a number from 0 to 100');
    const read = await Promise.all(files.map(readTestFile));
    const faults = read.flatMap((each) => each.faults);
    for (const fault of faults) terminal.warn(`${formatFault(fault)}\n`);
    if (faults.length > 0) return 1;
    const byFolder = Map.groupBy(read, ({ folder }) => folder);
    let sound = true;
    for (const [folder, group] of byFolder) {
      sound = (await testPolicy(folder, group, failUnder, terminal)) && sound;
    }
    return sound ? 0 : 1;
  },
};

interface Read {
  readonly file: string;
  readonly contents?: TestFile;
  /** Of the policy. */
  readonly folder: string;
  readonly faults: readonly PolicyFault[];
}

async function readTestFile(file: string): Promise<Read> {
  const text = await readFile(file, 'utf8').catch((error: Error) => error);
  if (text instanceof Error) throw new UsageError(`${file} cannot be read: ${text.message}`);
  const { contents, faults } = readPolicyFile(file, text, testFile);
  const folder = join(dirname(file), contents?.policy ?? '.');
  return { file, folder, faults, ...(contents !== undefined && { contents }) };
}

/** Whether every case came out as it should, and enough was covered. */
async function testPolicy(
  folder: string,
  files: readonly Read[],
  failUnder: number,
  terminal: Terminal,
): Promise<boolean> {
  const { policy, faults } = await loadPolicy(folder, Date.now());
  for (const fault of faults) terminal.warn(`${formatFault(fault)}\n`);
  if (policy === undefined || faults.length > 0) return false;
  const rehearsal = new Rehearsal(policy);
  const coverage = new Coverage(policy);
  let failed = 0;
  for (const { file, contents } of files) {
    if (contents === undefined) continue;
    const results = await runCases(rehearsal, contents, coverage);
    terminal.write(`${file}\n${results.map(line).join('')}`);
    failed += results.filter(({ differences }) => differences.length > 0).length;
  }
  const enough = printCoverage(coverage, failUnder, terminal);
  if (failed > 0) terminal.write(`${failed} ${failed === 1 ? 'case' : 'cases'} failed\n`);
  return enough && failed === 0;
}

function line({ name, differences }: CaseResult): string {
  const mark = differences.length === 0 ? '✓' : '✗';
  return `  ${mark} ${name}\n${differences.map((each) => `      ${each}\n`).join('')}`;
}

function printCoverage(coverage: Coverage, failUnder: number, terminal: Terminal): boolean {
  const { items } = coverage;
  const missing = items.filter(({ covered }) => !covered);
  const percent = items.length === 0 ? 100 : (100 * (items.length - missing.length)) / items.length;
  terminal.write(
    `${items.length - missing.length} of ${items.length} routes and rules covered (${percent.toFixed(1)} %)\n`,
  );
  for (const { words, place } of missing) terminal.write(`  no case shows that ${words} (${place})\n`);
  if (percent >= failUnder) return true;
  terminal.write(`less than ${failUnder} % is covered\n`);
  return false;
}
