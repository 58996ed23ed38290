/** Part of a core for each of some processes, so that others always have the rest: the cpu controller of Linux (cgroups(7)). */

import { accessSync, constants, existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const PERIOD_US = 10_000;

interface Hierarchy {
  readonly root: string;
  readonly marker: string;
  /** Files and what is written to them for a quota of so many microseconds a period. */
  readonly limit: (quotaUs: number) => readonly (readonly [file: string, text: string])[];
}

/** Where groups are made: version 1, then version 2. */
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
 * Gives each process, with all its threads, at most this part of a core. The answer gives them all of it again; nothing,
 * and nothing has changed, where control groups cannot be made here.
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
