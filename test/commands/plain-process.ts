/** Programs as a user runs them, without the Node options that the test runner gives to every process. */

import {
  type ChildProcess,
  type ExecFileSyncOptions,
  execFileSync,
  type SpawnOptions,
  spawn,
} from 'node:child_process';

/** Arguments before those of the program. */
export const PLAIN = ['env', '-u', 'NODE_OPTIONS'] as const;

/** Returns what it printed; throws with all of it on failure. */
export function runPlainly(words: readonly string[], options: ExecFileSyncOptions = {}): string {
  const [env, ...rest] = [...PLAIN, ...words];
  return execFileSync(env, rest, { stdio: 'pipe', maxBuffer: 2 ** 26, ...options }).toString();
}

export function startPlainly(words: readonly string[], options: SpawnOptions = {}): ChildProcess {
  const [env, ...rest] = [...PLAIN, ...words];
  return spawn(env, rest, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
}
