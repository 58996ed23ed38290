/** A log of routes in shadow, replayed: what is refused once they are enforced is found before. */
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { runHere } from './here.ts';
import { line } from './log-line.ts';
import { writePolicy } from './process.ts';

const ROUTES = `  - name: weights
    match: { methods: [GET], path: '/v1/models/{model_id}/**' }
    mode: shadow
    require: { scope: read }
    upstream: sync
  - name: open
    match: { methods: [GET], path: '/open/**' }
    mode: shadow
    require: none
    upstream: sync
`;

const anonymous = { 'token.sub': undefined, 'token.claims': undefined };
const uncertified = { 'tls.client.subject': undefined, 'tls.client.hash.sha256': undefined };

/** What was let pass in shadow, and what enforcing makes of it. */
const passed = [
  {
    more: { ...anonymous, 'shadow.step': 'token', 'shadow.code': 'token-missing' },
    change: 'in shadow token-missing by weights → token-missing by weights',
  },
  {
    more: { ...anonymous, 'shadow.step': 'token', 'shadow.code': 'token-expired' },
    change: 'in shadow token-expired by weights → token-expired by weights',
  },
  {
    more: {
      ...anonymous,
      ...uncertified,
      'shadow.step': 'certificate',
      'shadow.code': 'certificate-denied',
      'url.path': '/open/x',
      route: 'open',
    },
    change: 'in shadow certificate-denied by open → certificate-denied by open',
  },
  {
    more: { ...anonymous, 'shadow.step': 'allowlist', 'shadow.code': 'address-denied' },
    change: 'in shadow token required by weights → token required by weights',
    otherwise: true,
  },
];

async function setFolders(t: Parameters<typeof writePolicy>[0]) {
  const { folder } = await writePolicy(t, '127.0.0.1:1', '', { routes: ROUTES });
  const [old, next, log] = [join(folder, 'policies'), join(folder, 'next'), join(folder, 'access.jsonl')];
  const gateway = join(old, 'gateway.yaml');
  const text = await readFile(gateway, 'utf8');
  await writeFile(gateway, text.replace('name: edge', 'name: edge\n      clientCertificates: optional'));
  await cp(old, next, { recursive: true });
  const tenant = join(next, 'tenants', 'tenant-a.yaml');
  await writeFile(tenant, (await readFile(tenant, 'utf8')).replaceAll('    mode: shadow\n', ''));
  return { old, next, log };
}

t.test('diff finds what a route in shadow let pass and refuses when it is enforced', async (t) => {
  const { old, next, log } = await setFolders(t);
  for (const { more, change, otherwise = false } of passed) {
    await writeFile(log, `${line(more)}\n`);
    const { status, out } = await runHere('diff', '--old', old, '--new', next, '--replay', log);
    t.equal(status, 1);
    t.match(out, `1 request replayed, 1 decided differently\n`);
    t.match(out, `  1 × ${change}\n`);
    t.equal(out.includes('1 refused for reasons the old policy does not give'), otherwise, out);
    const same = await runHere('diff', '--old', old, '--new', old, '--replay', log);
    t.equal(same.status, 0, same.out);
  }
});

t.test('explain reads from a line what was refused in shadow', async (t) => {
  const { next } = await setFolders(t);
  for (const { more } of passed.slice(0, 3)) {
    const { status, out } = await runHere('explain', '--config', next, '--access-line', line(more));
    t.equal(status, 1);
    t.match(out, new RegExp(`→ 40[13] ${more['shadow.code']}`));
    t.match(out, 'the log line says 200');
  }
});
