#!/usr/bin/env node
/** The command line: picks the command, lends it the process, turns its result into an exit status. */

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type Command, type OptionValues, type Terminal, UsageError } from './commands/command.ts';
import { commands } from './commands/table.ts';

const terminal: Terminal = {
  version: version(),
  workingFolder: process.cwd(),
  write: (text) => void process.stdout.write(text),
  warn: (text) => void process.stderr.write(text),
  isTerminal: process.stdout.isTTY === true,
  colours: process.stdout.isTTY === true && !process.env['NO_COLOR'],
  columns: process.stdout.columns ?? 80,
  onSignal: (name, handler) => void process.on(name, handler),
};

// A reader that went away (`| head`) is no reason to fail: what is left is written to nobody.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);

/** Exit status: 0 as asked, 1 the command failed, 2 the command line cannot be used. */
async function main(words: readonly string[]): Promise<number> {
  const [name, ...rest] = words;
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    terminal.write(usage());
    return name === undefined ? 2 : 0;
  }
  if (name === '--version' || name === 'version') {
    terminal.write(`patchgate ${terminal.version}\n`);
    return 0;
  }
  const command = commands.find((each) => each.name === name);
  if (command === undefined) return misused(`there is no command ${name}`, usage());
  if (rest.includes('--help') || rest.includes('-h')) {
    terminal.write(`${usageOf(command)}\n\n${command.summary}\n`);
    return 0;
  }
  try {
    const { values, words } = readOptions(command, rest);
    return await command.run(values, terminal, words);
  } catch (error) {
    if (error instanceof UsageError)
      return misused(`${command.name}: ${error.message}`, `Usage: ${usageOf(command)}\n`);
    throw error;
  }
}

function readOptions(
  { options, takesWords = false }: Command,
  args: readonly string[],
): { readonly values: OptionValues; readonly words: readonly string[] } {
  try {
    const read = parseArgs({ args: [...args], options, strict: true, allowPositionals: takesWords });
    return { values: read.values as OptionValues, words: read.positionals };
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function misused(problem: string, usage: string): number {
  terminal.warn(`patchgate: ${problem}\n\n${usage}`);
  return 2;
}

function usageOf({ name, usage }: Command): string {
  return `patchgate ${name} ${usage}`;
}

function usage(): string {
  const lines = commands.map((each) => `  ${each.name.padEnd(6)} ${each.usage}\n         ${each.summary}`);
  return `Usage: patchgate <command> [options]\n\n${lines.join('\n')}\n`;
}

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest
    ? String(manifest.version)
    : '';
}

main(process.argv.slice(2)).then(
  (status) => {
    process.exitCode = status;
  },
  (error: unknown) => {
    terminal.warn(`patchgate: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  },
);
