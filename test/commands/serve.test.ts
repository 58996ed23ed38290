/** The start of a gateway that goes wrong, or is disturbed. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { sleep } from '../path/stage.ts';
import { ports, run, start, writePolicy } from './process.ts';

/** An etcd that is not there: it is followed all the same. */
const AWAY = "  etcd: { endpoints: ['http://127.0.0.1:1'], tenants: /tenants/ }";

t.test('a start that fails ends the process, whatever is followed already', async (t) => {
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

t.test('SIGHUP amid the start is a reload after it', async (t) => {
  const { folder } = await writePolicy(t, 'http://127.0.0.1:1', AWAY);
  const running = start(t, ['serve', '--config', join(folder, 'policies')]);
  while (!running.output.err.includes('a list was read')) await sleep(5);
  running.child.kill('SIGHUP');
  await ports(running);
  while (!running.output.err.includes('the policy was read again')) await sleep(5);
  running.child.kill('SIGTERM');
  t.equal(await running.ended, 0);
});

t.test('a tenant with a fault is not served, and keeps no other from being', async (t) => {
  const { folder } = await writePolicy(t, 'http://127.0.0.1:1');
  const tenants = join(folder, 'policies', 'tenants');
  await writeFile(join(tenants, 'tenant-b.yaml'), 'tenant: tenant-b\nserverNames: [b.test]\ncolour: red\n');
  const running = start(t, ['serve', '--config', join(folder, 'policies')]);
  const { admin } = await ports(running);
  const page = async (path: string): Promise<string> =>
    (await fetch(`http://127.0.0.1:${admin}${path}`)).text();
  const policy = await page('/policy');
  t.match(policy, /"name": ?"tenant-a"/);
  t.notMatch(policy, /"name": ?"tenant-b"/);
  t.match(policy, /tenant-b\.yaml:3:1 colour: /);
  t.match(await page('/metrics'), '\npatchgate_policy_last_reload_successful 0\n');
  t.match(running.output.err, /"fault":"[^"]*tenant-b\.yaml:3:1 colour: /);
  running.child.kill('SIGTERM');
  t.equal(await running.ended, 0);
});

t.test('a start with faults and nobody to serve is none', async (t) => {
  const { folder } = await writePolicy(t, 'http://127.0.0.1:1');
  await writeFile(join(folder, 'policies', 'tenants', 'tenant-a.yaml'), 'tenant: tenant-a\ncolour: red\n');
  const { status, err } = await run(t, 'serve', '--config', join(folder, 'policies'));
  t.equal(status, 1);
  t.match(err, /tenant-a\.yaml:2:1 colour: /);
});
