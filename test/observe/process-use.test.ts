/** What Linux reports about a process agrees with Node and the shell. */
import { execFileSync } from 'node:child_process';
import { open } from 'node:fs/promises';
import t from 'tap';
import { processUse } from '../../gateway/observe/process-use.ts';

t.test('CPU, memory and descriptors are those of this process', async (t) => {
  const { user, system } = process.cpuUsage();
  const before = processUse();
  t.ok(
    Math.abs((before?.cpuSeconds ?? 0) - (user + system) / 1e6) < 0.1,
    `the CPU seconds agree with Node: ${before?.cpuSeconds} s`,
  );
  const resident = process.memoryUsage.rss();
  t.ok(
    Math.abs((before?.residentBytes ?? 0) / resident - 1) < 0.1,
    `the resident bytes agree with Node: ${before?.residentBytes} bytes`,
  );
  const limit = execFileSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' });
  t.equal(before?.mostDescriptors, Number(limit));
  const files = await Promise.all(Array.from({ length: 7 }, () => open('/dev/null')));
  t.equal(processUse()?.openDescriptors, (before?.openDescriptors ?? 0) + files.length);
  await Promise.all(files.map((file) => file.close()));
});
