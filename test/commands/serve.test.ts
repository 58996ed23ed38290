/** A start of the gateway that fails or is disturbed. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { sleep } from '../path/stage.ts';
import { ports, run, start, writePolicy } from './process.ts';

/** An etcd that does not answer; the gateway follows it nevertheless. */
const AWAY = "  etcd: { endpoints: ['http://127.0.0.1:1'], tenants: /tenants/ }";

t.test('a failed start ends the process even if lists are already being followed', async (t) => {
  for (const log of ['audit', 'accessLog']) {
    const { folder } = await writePolicy(
      t,
      'http://127.0.0.1:1',
      `${AWAY}\n  ${log}: { file: nowhere/log.jsonl }`,
    );
    const { status, err } = await run(t, 'serve', '--config', join(folder, 'policies'));
    t.equal(status, 1);
    t.match(err, /\npatchgate: ENOENT: .*nowhere/);
  }
});

t.test('a SIGHUP during the start causes a reload after it', async (t) => {
  const { folder } = await writePolicy(t, 'http://127.0.0.1:1', AWAY);
  const running = start(t, ['serve', '--config', join(folder, 'policies')]);
  while (!running.output.err.includes('a list was read')) await sleep(5);
  running.child.kill('SIGHUP');
  await ports(running);
  while (!running.output.err.includes('the policy was reloaded')) await sleep(5);
  running.child.kill('SIGTERM');
  t.equal(await running.ended, 0);
});

t.test('a reload that ends when the gateway has stopped opens nothing again', async (t) => {
  for (const workers of [1, 2]) {
    const { folder } = await writePolicy(
      t,
      'http://127.0.0.1:1',
      `  workers: ${workers}\n  state: { redis: 'redis://127.0.0.1:1', prefix: 'p:', onFailure: local }`,
    );
    const running = start(t, ['serve', '--config', join(folder, 'policies')]);
    await ports(running);
    running.child.kill('SIGHUP');
    running.child.kill('SIGTERM');
    t.equal(await running.ended, 0);
  }
});

t.test('a fault in the file of any tenant prevents the start and is listed', async (t) => {
  const { folder } = await writePolicy(t, 'http://127.0.0.1:1');
  await writeFile(join(folder, 'policies', 'tenants', 'tenant-b.yaml'), 'tenant: tenant-b\ncolour: red\n');
  const { status, err } = await run(t, 'serve', '--config', join(folder, 'policies'));
  t.equal(status, 1);
  t.match(err, /tenant-b\.yaml:2:1 colour: /);
});
