/** A fleet of two workers without the gateway around it. */
import type { Test } from 'tap';
import { LocalLimits } from '../../gateway/limits/local-limits.ts';
import { createLog } from '../../gateway/observe/log.ts';
import { createMetrics } from '../../gateway/observe/metrics.ts';
import { upstreamsOf } from '../../gateway/policy/policy.ts';
import { followPolicy } from '../../gateway/policy-follower.ts';
import { Fleet, type FleetOptions } from '../../gateway/workers/fleet.ts';
import { forkWorker } from '../../gateway/workers/fork.ts';

export async function fleetOf(
  t: Test,
  policyFolder: string,
  more: Partial<FleetOptions> = {},
): Promise<Fleet> {
  const log = createLog('silent');
  const metrics = createMetrics({});
  const { follower } = await followPolicy({ policyFolder, log, metrics });
  if (follower === undefined) throw new Error('the policy has faults');
  const fleet = new Fleet({
    settings: {
      processes: 2,
      readsInPlace: true,
      reusePort: false,
      audit: undefined,
    },
    control: follower.handoff(Buffer.alloc(32), (fault) => t.fail(fault)),
    audit: undefined,
    fork: forkWorker,
    metrics,
    upstreams: () => upstreamsOf(follower.policy()),
    limits: new LocalLimits(),
    accessLog: undefined,
    log,
    drainMs: () => 1000,
    onGivenUp: (error) => t.fail(error.message),
    ...more,
  });
  t.teardown(() => {
    fleet.stopNow();
    follower.close();
  });
  return fleet;
}
