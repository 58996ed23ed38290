/** What a command of the command line is, and what the process lends it. */

import type { ParseArgsConfig } from 'node:util';

/** The process as commands see it; `cli.ts` makes the real one. */
export interface Terminal {
  /** The version of patchgate. */
  readonly version: string;
  /** The folder relative paths start at. */
  readonly workingFolder: string;
  /** Standard output. */
  write(text: string): void;
  /** Standard error. */
  warn(text: string): void;
  /** Standard output is a terminal. */
  readonly isTerminal: boolean;
  /** The user wants colours: a terminal, and no `NO_COLOR`. */
  readonly colours: boolean;
  /** Width of the terminal in characters, or 80. */
  readonly columns: number;
  /** Calls back at each signal of that name from now on. */
  onSignal(name: 'SIGINT' | 'SIGTERM' | 'SIGHUP', handler: () => void): void;
}

/** The values of options: `--name value` as text, or as texts where it may come again; `--flag` as true. */
export type OptionValues = Readonly<Record<string, string | boolean | readonly string[] | undefined>>;

export interface Command {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** The line behind `patchgate <name>` in the usage. */
  readonly usage: string;
  readonly options: NonNullable<ParseArgsConfig['options']>;
  /** Words beside the options are taken, and given to `run`. */
  readonly takesWords?: boolean;
  /** Loads what it needs, so that no command pays for another. Resolves to the exit status. Throws `UsageError` for words it cannot use. */
  run(values: OptionValues, terminal: Terminal, words: readonly string[]): Promise<number>;
}

/** The command line cannot be used as it is: exit status 2. */
export class UsageError extends Error {}

/** The text of an option that must be there. */
export function required(values: OptionValues, name: string): string {
  const value = values[name];
  if (typeof value !== 'string' || value === '') throw new UsageError(`--${name} is missing`);
  return value;
}

/** The text of an option that may be left out. */
export function optional(values: OptionValues, name: string): string | undefined {
  const value = values[name];
  return typeof value === 'string' ? value : undefined;
}

/** `host:port` as in `127.0.0.1:8443` or `[::1]:8443`. */
export function parseHostPort(text: string): { readonly host: string; readonly port: number } {
  const [, bracketed, plain, digits] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:]+)):([0-9]{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || Number(digits) > 65535) throw new UsageError(`${text} is no host:port`);
  return { host, port: Number(digits) };
}
