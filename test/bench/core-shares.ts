/** Limits processes to a share of a core, to leave the rest to others, by Linux' cpu controller (cgroups(7)). */

import { accessSync, constants, existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const PERIOD_US = 10_000;

interface Hierarchy {
  readonly root: string;
  readonly marker: string;
  /** Files to write, with their texts, for a quota of `quotaUs` microseconds per period. */
  readonly limit: (quotaUs: number) => readonly (readonly [file: string, text: string])[];
}

/** Where groups are created: version 1, then version 2. */
const HIERARCHIES: readonly Hierarchy[] = [
  {
    root: '/sys/fs/cgroup/cpu',
    marker: 'cpu.cfs_quota_us',
    limit: (quotaUs: number) => [
      ['cpu.cfs_period_us', `${PERIOD_US}`],
      ['cpu.cfs_quota_us', `${quotaUs}`],
    ],
  },
  {
    root: '/sys/fs/cgroup',
    marker: 'cgroup.subtree_control',
    limit: (quotaUs: number) => [['cpu.max', `${quotaUs} ${PERIOD_US}`]],
  },
];

/**
 * Limits each process, with all its threads, to this share of a core. Returns a function that lifts the limits, or
 * undefined, with nothing changed, if control groups cannot be created here.
 */
export function holdEach(pids: readonly number[], part: number): (() => void) | undefined {
  const hierarchy = HIERARCHIES.find(({ root, marker }) => isWritable(join(root, marker), root));
  if (hierarchy === undefined) return undefined;
  const { root, limit } = hierarchy;
  const made: string[] = [];
  const release = (): void => {
    for (const pid of pids)
      if (existsSync(`/proc/${pid}`)) writeFileSync(join(root, 'cgroup.procs'), `${pid}`);
    for (const folder of made) rmdirSync(folder);
  };
  for (const pid of pids) {
    const folder = join(root, `patchgate-bench-${pid}`);
    mkdirSync(folder);
    made.push(folder);
    for (const [file, text] of limit(part * PERIOD_US)) writeFileSync(join(folder, file), text);
    writeFileSync(join(folder, 'cgroup.procs'), `${pid}`);
  }
  return release;
}

function isWritable(marker: string, root: string): boolean {
  try {
    accessSync(marker, constants.R_OK);
    accessSync(join(root, 'cgroup.procs'), constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
