/** The files an operator starts from, read as their programs would read them. */

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { parse, parseAllDocuments } from 'yaml';
import { commands } from '../../gateway/commands/table.ts';

/** The path of a file or folder of the repository. */
export const repositoryPath = (name: string): string =>
  fileURLToPath(new URL(`../../${name}`, import.meta.url));

export const readText = (name: string): string => readFileSync(repositoryPath(name), 'utf8');

/** The contents of a YAML file of the repository, in the shape the caller names. */
export const readYaml = <T>(name: string): T => parse(readText(name), { merge: true }) as T;

/** Each document of a YAML file, in the shape the caller names. */
export const readDocuments = <T>(name: string): readonly T[] =>
  parseAllDocuments(readText(name)).map((each) => each.toJS() as T);

/** Why the command line rejects these arguments, or undefined if it accepts them. */
export function misuse([name, ...args]: readonly string[]): string | undefined {
  const command = commands.find((each) => each.name === name);
  if (command === undefined) return `there is no command ${name}`;
  try {
    parseArgs({
      args,
      options: command.options,
      strict: true,
      allowPositionals: command.takesWords === true,
    });
    return undefined;
  } catch (error) {
    return String(error);
  }
}

export interface Service {
  readonly image: string;
  readonly build?: string;
  readonly user?: string;
  readonly command?: readonly string[];
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly networks: readonly string[] | Readonly<Record<string, { readonly ipv4_address?: string }>>;
  readonly extra_hosts?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly pids_limit?: number;
  readonly deploy?: {
    readonly resources: { readonly limits: { readonly cpus: string; readonly memory: string } };
  };
}

export interface ComposeFile {
  readonly services: Readonly<Record<string, Service>>;
  readonly networks: Readonly<Record<string, { readonly internal?: boolean }>>;
  readonly secrets: Readonly<Record<string, { readonly file: string }>>;
}

export const compose = readYaml<ComposeFile>('docker-compose.yml');

/** One line of a Dockerfile. */
export interface Instruction {
  readonly name: string;
  readonly text: string;
}

export function readDockerfile(): readonly Instruction[] {
  const lines = readText('Dockerfile').replaceAll('\\\n', ' ').split('\n');
  return lines
    .filter((line) => line.trim() !== '' && !line.startsWith('#'))
    .map((line) => {
      const [, name = '', text = ''] = /^([A-Z]+)\s+(.*)$/.exec(line) ?? [];
      return { name, text };
    });
}

/** The words of an instruction in exec form, the JSON array at its end. */
export const execWords = (text: string): readonly string[] =>
  JSON.parse(text.slice(text.indexOf('['))) as readonly string[];
