/** The command line: picks the command and turns its result into an exit status. */

import { parseArgs } from 'node:util';
import { messageOf } from '../core/error-text.ts';
import { type Command, type OptionValues, type Terminal, UsageError } from './command.ts';
import { commands } from './table.ts';

/** Resolves to the exit status: 0 success, 1 the command failed, 2 the command line is invalid. Never rejects. */
export async function runCommandLine(words: readonly string[], terminal: Terminal): Promise<number> {
  try {
    return await pickCommand(words, terminal);
  } catch (error) {
    terminal.warn(`patchgate: ${messageOf(error)}\n`);
    return 1;
  }
}

async function pickCommand(words: readonly string[], terminal: Terminal): Promise<number> {
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
  if (command === undefined) return misused(terminal, `unknown command ${name}`, usage());
  if (rest.includes('--help') || rest.includes('-h')) {
    terminal.write(`${usageOf(command)}\n\n${command.summary}\n`);
    return 0;
  }
  try {
    const { values, words } = readOptions(command, rest);
    return await command.run(values, terminal, words);
  } catch (error) {
    if (error instanceof UsageError)
      return misused(terminal, `${command.name}: ${error.message}`, `Usage: ${usageOf(command)}\n`);
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
    throw new UsageError(messageOf(error));
  }
}

function misused(terminal: Terminal, problem: string, usage: string): number {
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
