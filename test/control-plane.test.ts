/** The control plane when its data planes fail. */
import { join } from 'node:path';
import t from 'tap';
import { Gateway } from '../gateway/gateway.ts';
import { LiveLimits } from '../gateway/limits/live-limits.ts';
import { createLog } from '../gateway/observe/log.ts';
import { createMetrics } from '../gateway/observe/metrics.ts';
import { followPolicy } from '../gateway/policy-follower.ts';
import { writePolicy } from './commands/process.ts';

t.test('data planes that are given up during their start leave no admin listener behind', async (t) => {
  const { folder } = await writePolicy(t, 'http://127.0.0.1:1');
  const log = createLog('silent');
  const metrics = createMetrics({ version: '1.2.3' });
  const { follower } = await followPolicy({ policyFolder: join(folder, 'policies'), log, metrics });
  if (follower === undefined) throw new Error('the policy has faults');
  let giveUp: (error: Error) => void = () => undefined;
  const failed = new Promise<Error>((resolve) => {
    giveUp = resolve;
  });
  const gateway: Gateway = new Gateway({
    follower,
    metrics,
    log,
    failed,
    limits: new LiveLimits(log),
    audit: undefined,
    ticketSecret: Buffer.alloc(32),
    planes: {
      isAccepting: false,
      status: {},
      listen: async () => {
        giveUp(new Error('no worker starts'));
        await gateway.failed;
        return new Map();
      },
      reloaded: async () => undefined,
      observe: async () => undefined,
      nodes: async () => [],
      setDrained: async () => false,
      drain: async () => undefined,
      stopNow: () => undefined,
    },
  });
  await t.rejects(gateway.start(), { message: 'the gateway was stopped during its start' });
  t.equal(gateway.adminAddress, undefined);
});
