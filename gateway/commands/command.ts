/** The shape of a command, the process as commands see it, and the reading of options. */

import type { ParseArgsConfig } from 'node:util';

/** The process as commands see it; `cli.ts` makes the real one. */
export interface Terminal {
  /** The version of patchgate. */
  readonly version: string;
  /** Folder that relative paths start at. */
  readonly workingFolder: string;
  /** Standard output. */
  write(text: string): void;
  /** Standard error. */
  warn(text: string): void;
  /** Whether standard output is a terminal. */
  readonly isTerminal: boolean;
  /** Whether to use colours: standard output is a terminal, and `NO_COLOR` is unset or empty. */
  readonly colours: boolean;
  /** Width of the terminal in characters, or 80. */
  readonly columns: number;
  /** Calls `handler` at each signal of that name from now on. */
  onSignal(name: 'SIGINT' | 'SIGTERM' | 'SIGHUP', handler: () => void): void;
}

/** Values of options: a string for `--name value`, an array if the option may be repeated, true for `--flag`. */
export type OptionValues = Readonly<Record<string, string | boolean | readonly string[] | undefined>>;

export interface Command {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** What follows `patchgate <name>` in the usage. */
  readonly usage: string;
  readonly options: NonNullable<ParseArgsConfig['options']>;
  /** Whether positional arguments are accepted; `run` gets them as `words`. */
  readonly takesWords?: boolean;
  /**
   * Imports what it needs itself, so that no command loads the code of another. Resolves to the exit status. Throws
   * `UsageError` if an option or argument is invalid.
   */
  run(values: OptionValues, terminal: Terminal, words: readonly string[]): Promise<number>;
}

/** The command line is invalid: exit status 2. */
export class UsageError extends Error {}

/** Returns the value of an option. Throws `UsageError` if it is absent or empty. */
export function required(values: OptionValues, name: string): string {
  const value = values[name];
  if (typeof value !== 'string' || value === '') throw new UsageError(`missing --${name}`);
  return value;
}

/** Returns the value of an option, or undefined if it is absent. */
export function optional(values: OptionValues, name: string): string | undefined {
  const value = values[name];
  return typeof value === 'string' ? value : undefined;
}

/** Parses `host:port`, as in `127.0.0.1:8443` or `[::1]:8443`. Throws `UsageError`. */
export function parseHostPort(text: string): { readonly host: string; readonly port: number } {
  const [, bracketed, plain, digits] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:]+)):([0-9]{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || Number(digits) > 65535) throw new UsageError(`expected HOST:PORT, got ${text}`);
  return { host, port: Number(digits) };
}
