/**
 * What the documents take from the code: tables and chart of the README, the faults of WPF1.md, and the schema
 * files of `policies/`. `npm run documents` writes them; tests check them.
 */

import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { commands } from '../gateway/commands/table.ts';
import { denials } from '../gateway/core/denial.ts';
import { accessKeys } from '../gateway/observe/access-entry.ts';
import { metricTable } from '../gateway/observe/metric-table.ts';
import { patchFaults } from '../gateway/patch/fault.ts';
import {
  type ConfigKey,
  configKeys,
  type PolicyFileKind,
  policyFiles,
  policySchema,
} from '../gateway/policy/schema.ts';
import { chart } from './bench/chart.ts';
import { besideText, measuredRows } from './bench/measured.ts';
import { chartPath, readResults } from './bench/results.ts';
import { callerRows } from './faults/caller-rows.ts';
import type { FaultText } from './faults/fault-stage.ts';
import { nodeRows } from './faults/node-rows.ts';
import { systemRows } from './faults/system-rows.ts';

const root = new URL('../', import.meta.url);
const CLAIMS = JSON.stringify({
  iss: 'https://hub.example.com',
  aud: 'weight-sync',
  sub: 'worker-7',
  iat: 1_796_126_400,
  exp: 1_796_130_000,
  scope: 'finetune:acme/vision-7',
});
export const readmePath = new URL('README.md', root);
/** Where generated tables stand. */
export const tablePaths: readonly URL[] = [readmePath, new URL('gateway/patch/WPF1.md', root)];
export const schemaPath = (kind: PolicyFileKind): URL => new URL(`policies/schema/${kind}.json`, root);

/** The tables of the documents by the name in their markers. */
export const tables: Readonly<Record<string, string>> = {
  denials: table(
    ['code', 'status', 'fixed by', 'title'],
    Object.entries(denials).map(([code, { status, fault, title }]) => [
      tick(code),
      String(status),
      fault,
      title,
    ]),
  ),
  faults: table(
    ['fault', 'status', 'title'],
    Object.entries(patchFaults).map(([rule, { status, title }]) => [tick(rule), String(status), title]),
  ),
  'what-breaks': faultTable([...nodeRows, ...callerRows, ...systemRows]),
  metrics: table(
    ['metric', 'type', 'labels', 'meaning'],
    Object.values(metricTable).map(({ name, type, labels, help }) => [
      tick(name),
      type,
      labels.map(tick).join(' '),
      help,
    ]),
  ),
  commands: table(
    ['command', 'what it does'],
    commands.map(({ name, usage, summary }) => [
      tick(`${name} ${usage.replaceAll(/\s+/g, ' ')}`.trim()),
      summary,
    ]),
  ),
  'gateway-keys': keyTable('gateway'),
  'tenant-keys': keyTable('tenant'),
  measured: table(...measuredRows(readResults())),
  'measured-beside': besideText(readResults()),
  'access-log': ['time', ...Object.values(accessKeys)].map(tick).join(' · '),
};

function faultTable(rows: readonly FaultText[]): string {
  const byOutcome = Map.groupBy(rows, ({ caller, node, account }) => [caller, node, account].join(' | '));
  const lines = [...byOutcome].map(([outcome, each]) => {
    const faults = new Set(each.map(({ fault }) => fault));
    return [[...faults].join('<br>'), ...outcome.split(' | ')];
  });
  return table(['what breaks', 'the caller gets', 'the node sees', 'logged as'], lines);
}

/** Keys with the same default and meaning share a row. */
function keyTable(kind: PolicyFileKind): string {
  const keys = configKeys(kind);
  const alike = Map.groupBy(keys, (key) => JSON.stringify([whenLeftOut(key), key.description]));
  const rows = [...alike.values()].map((each) => {
    const [key] = each as [ConfigKey];
    return [each.map(({ path }) => tick(path)).join('<br>'), whenLeftOut(key), key.description];
  });
  return table(['key', 'default', 'meaning'], rows);
}

function whenLeftOut({ required, requiredIn, defaultText }: ConfigKey): string {
  if (requiredIn !== undefined) return `required in ${tick(requiredIn)}`;
  if (required) return 'required';
  return defaultText === undefined ? '' : tick(defaultText);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function tick(text: string): string {
  return `\`${text}\``;
}

const MARKED = /<!-- table: ([a-z-]+) -->\n([\s\S]*?)<!-- end -->/g;

/** The commands whose output the README shows, run on the sample policies; `certs` has certificates for them. */
export const examples: Readonly<Record<string, readonly string[]>> = {
  explain: [
    ...['explain', '--server-name', 'tenant-b.example.com', '--peer', '198.51.100.9'],
    ...['--method', 'GET', '--path', '/v1/models/acme/vision-7b/weights', '--time', '2026-12-01T12:05:00Z'],
    ...['--claims', CLAIMS],
  ],
};

/** An example as the README shows it: the command and all it prints. */
export function exampleText(name: string): string {
  const words = examples[name] ?? [];
  const { stdout } = spawnSync(process.execPath, [fileURLToPath(new URL('gateway/cli.ts', root)), ...words], {
    cwd: fileURLToPath(root),
    encoding: 'utf8',
  });
  const shown = words.map((word) => (/^[\w./:-]+$/.test(word) ? word : `'${word}'`)).join(' ');
  return `\`\`\`console\n$ patchgate ${shown}\n${stdout}\`\`\``;
}

const EXAMPLE = /<!-- example: ([a-z-]+) -->\n([\s\S]*?)<!-- end -->/g;

/** The examples in a document, by name. */
export function shownExamples(text: string): ReadonlyMap<string, string> {
  return new Map([...text.matchAll(EXAMPLE)].map(([, name = '', body = '']) => [name, body.trim()]));
}

/** The tables in a document, by name. */
export function markedTables(text: string): ReadonlyMap<string, string> {
  return new Map([...text.matchAll(MARKED)].map(([, name = '', body = '']) => [name, body.trim()]));
}

export function schemaText(kind: PolicyFileKind): string {
  return `${JSON.stringify(policySchema(kind), undefined, 2)}\n`;
}

function write(): void {
  for (const path of tablePaths) {
    const written = readFileSync(path, 'utf8').replaceAll(MARKED, (_, name: string) => {
      return `<!-- table: ${name} -->\n\n${tables[name] ?? ''}\n\n<!-- end -->`;
    });
    const shown = written.replaceAll(EXAMPLE, (_, name: string) => {
      return `<!-- example: ${name} -->\n\n${exampleText(name)}\n\n<!-- end -->`;
    });
    writeFileSync(path, shown);
  }
  writeFileSync(chartPath, chart(readResults()));
  for (const kind of policyFiles) writeFileSync(schemaPath(kind), schemaText(kind));
}

if (import.meta.main) write();
