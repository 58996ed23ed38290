/** Where a worker has its policy, lists, keys and certificates from. */

import { formatFault } from '../core/fault.ts';
import type { DataPlaneSources } from '../data-plane.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { followPolicy } from '../policy-follower.ts';
import type { WorkerSettings } from './messages.ts';

export interface WorkerSources extends DataPlaneSources {
  /** Resolves when the policy in force is what there is to be had now. */
  reload(): Promise<unknown>;
}

/** Each worker reads and follows the policy folder for itself. Rejects with its faults. */
export async function openSources(
  { policyFolder }: Pick<WorkerSettings, 'policyFolder'>,
  log: Log,
  metrics: Metrics,
): Promise<WorkerSources> {
  const { follower, faults } = await followPolicy({ policyFolder, log, metrics });
  if (follower === undefined) throw new Error(faults.map(formatFault).join('\n'));
  await follower.readCertificates();
  return follower;
}
