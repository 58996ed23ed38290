/** The logs of a running gateway, and how they end. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { MIB } from '../gateway/core/units.ts';
import { createLog } from '../gateway/observe/log.ts';
import { createMetrics } from '../gateway/observe/metrics.ts';
import { openAudit } from '../gateway/open-logs.ts';

t.test('an audit log that is closed twice records one stop and loses no line', async (t) => {
  const file = join(t.testdir({}), 'audit.jsonl');
  const metrics = createMetrics({ version: '1.2.3' });
  const settings = { file, rotateAtBytes: MIB, onFailure: 'refuse' } as const;
  const audit = await openAudit(settings, { log: createLog('silent'), metrics, version: '1.2.3' });
  await Promise.all([audit.close(), audit.close()]);
  await audit.close();
  const events = (await readFile(file, 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).event);
  t.same(events, ['started', 'stopped']);
  t.match((await metrics.text()).body, /^patchgate_audit_lines_total\{outcome="lost"\} 0$/m);
});
