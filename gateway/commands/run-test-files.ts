/** Runs the test files of `patchgate test` and prints the results. */

import { readFile } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { formatFault, type PolicyFault } from '../core/fault.ts';
import { Rehearsal } from '../explain/rehearsal.ts';
import { loadPolicy } from '../policy/load.ts';
import { readFile as readPolicyFile } from '../policy/read.ts';
import { PolicySources } from '../policy/sources.ts';
import { Coverage } from '../policy-test/coverage.ts';
import { type CaseResult, runCases } from '../policy-test/run-cases.ts';
import { type TestFile, testFile } from '../policy-test/test-file.ts';
import { type Terminal, UsageError } from './command.ts';

/** Resolves to whether every case passed and `failUnder` percent of each policy are covered. */
export async function runTestFiles(
  files: readonly string[],
  failUnder: number,
  terminal: Terminal,
): Promise<boolean> {
  const read = await Promise.all(files.map(readTestFile));
  const faults = read.flatMap((each) => each.faults);
  for (const fault of faults) terminal.warn(`${formatFault(fault)}\n`);
  if (faults.length > 0) return false;
  let sound = true;
  for (const [folder, group] of Map.groupBy(read, (each) => each.folder)) {
    sound = (await testPolicy(folder, group, failUnder, terminal)) && sound;
  }
  return sound;
}

interface Read {
  readonly file: string;
  readonly contents?: TestFile;
  /** The policy folder. */
  readonly folder: string;
  readonly faults: readonly PolicyFault[];
}

async function readTestFile(file: string): Promise<Read> {
  const text = await readFile(file, 'utf8').catch((error: Error) => error);
  if (text instanceof Error) throw new UsageError(`${file} cannot be read: ${text.message}`);
  const { contents, faults } = readPolicyFile(file, text, testFile);
  const { policy = '.' } = contents ?? {};
  const folder = isAbsolute(policy) ? policy : join(dirname(file), policy);
  return { file, folder, faults, ...(contents !== undefined && { contents }) };
}

/** Resolves to whether every case passed and enough is covered; false also if the policy has faults. */
async function testPolicy(
  folder: string,
  files: readonly Read[],
  failUnder: number,
  terminal: Terminal,
): Promise<boolean> {
  const sources = new PolicySources({ mode: 'once' });
  const { policy, faults } = await loadPolicy(folder, Date.now(), { sources });
  for (const fault of faults) terminal.warn(`${formatFault(fault)}\n`);
  if (policy === undefined || faults.length > 0) return false;
  for (const sentence of sources.unasked) terminal.warn(`${sentence}\n`);
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
  terminal.write(`coverage is below ${failUnder} %\n`);
  return false;
}
