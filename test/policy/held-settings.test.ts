/** A reload of settings that a process holds from its start is told to wait for a restart and changes nothing. */
import t from 'tap';
import { LivePolicy } from '../../gateway/policy/live.ts';
import { loadPolicy } from '../../gateway/policy/load.ts';
import { PolicySources } from '../../gateway/policy/sources.ts';
import { createAuthorities, GATEWAY_YAML, writePolicyFolder } from './policy-folder.ts';

const HELD = 'cannot change on reload; restart the process';

t.test('sockets, files and processes of the start stay as they are', async (t) => {
  const folder = await writePolicyFolder(t, await createAuthorities());
  const { policy } = await folder.load();
  for (const [from, to, place] of [
    ['name: edge', 'name: front', 'gateway.listeners'],
    ['127.0.0.1:8443', '127.0.0.1:8444', 'gateway.listeners'],
    [
      '127.0.0.1:8443\n',
      '127.0.0.1:8443\n    - { name: more, address: 127.0.0.1:8444 }\n',
      'gateway.listeners',
    ],
    ['127.0.0.1:9901', '127.0.0.1:9902', 'gateway.admin.address'],
    ['  admin', '  workers: 3\n  admin', 'gateway.workers'],
    ['  admin', '  accessLog: { file: access.jsonl }\n  admin', 'gateway.accessLog.file'],
    ['  admin', '  audit: { file: audit.jsonl }\n  admin', 'gateway.audit'],
  ] as const) {
    await folder.write('gateway.yaml', GATEWAY_YAML.replace(from, to));
    const read = await folder.load(policy);
    t.match(read.faults, [new RegExp(`^gateway\\.yaml:\\d+:\\d+ ${place}: ${HELD}$`)], to);
    t.equal(read.faults.length, 1);
    t.equal(read.policy?.gateway, policy?.gateway, 'all settings of the gateway stay');
  }
  await folder.write(
    'gateway.yaml',
    GATEWAY_YAML.replace('  admin', '  limits: { connections: 7 }\n  admin'),
  );
  const { policy: after, faults } = await folder.load(policy);
  t.same(faults, []);
  t.equal(after?.gateway.limits.connections, 7);
});

t.test('tenants are still reloaded while a restart is needed', async (t) => {
  const folder = await writePolicyFolder(t, await createAuthorities());
  const { policy } = await folder.load();
  await folder.write('gateway.yaml', GATEWAY_YAML.replace('  admin', '  workers: 3\n  admin'));
  await folder.edit('tenants/tenant-a.yaml', '203.0.113.0/24', '203.0.114.0/24');
  const read = await folder.load(policy);
  t.equal(read.faults.length, 1);
  t.equal(read.policy?.generation, (policy?.generation ?? 0) + 1);
  t.not(read.policy?.tenants.get('tenant-a'), policy?.tenants.get('tenant-a'));
});

t.test('the policy keeps the digest of its files before and after a restart is asked for', async (t) => {
  const folder = await writePolicyFolder(t, await createAuthorities());
  const { policy, ...read } = await loadPolicy(folder.path, 1000);
  if (policy === undefined) throw new Error('the folder has faults');
  let nowMs = 2000;
  const live = new LivePolicy(
    folder.path,
    { ...read, policy },
    new PolicySources({ mode: 'once' }),
    () => nowMs,
    () => undefined,
  );
  const { digest, generation } = policy;
  for (const text of [GATEWAY_YAML.replace('  admin', '  workers: 3\n  admin'), GATEWAY_YAML]) {
    await folder.write('gateway.yaml', text);
    await live.reload();
    t.match(live.current, { digest, generation, loadedAtMs: 1000 });
    nowMs += 1000;
  }
  t.same(live.faults, []);
  await folder.write(
    'gateway.yaml',
    GATEWAY_YAML.replace('  admin', '  limits: { connections: 7 }\n  admin'),
  );
  await live.reload();
  t.match(live.current, { generation: generation + 1, gateway: { limits: { connections: 7 } } });
});
