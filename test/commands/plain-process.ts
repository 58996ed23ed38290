/** Programs as a user runs them: the runner of tests gives every process its own options for Node, which these have not. */

import {
  type ChildProcess,
  type ExecFileSyncOptions,
  execFileSync,
  type SpawnOptions,
  spawn,
} from 'node:child_process';

/** Words before the program's. */
export const PLAIN = ['env', '-u', 'NODE_OPTIONS'] as const;

/** What it printed. Throws, with all of it, where it fails. */
export function runPlainly(words: readonly string[], options: ExecFileSyncOptions = {}): string {
  const [env, ...rest] = [...PLAIN, ...words];
  return execFileSync(env, rest, { stdio: 'pipe', maxBuffer: 2 ** 26, ...options }).toString();
}

export function startPlainly(words: readonly string[], options: SpawnOptions = {}): ChildProcess {
  const [env, ...rest] = [...PLAIN, ...words];
  return spawn(env, rest, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
}
