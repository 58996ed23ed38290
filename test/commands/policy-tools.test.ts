/** `test`, `diff` and `token` try a policy before it is in force. */
import { cp, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import t from 'tap';
import { skipWithout, startRedis } from '../lists/servers.ts';
import { newFolder } from '../new-folder.ts';
import { runHere } from './here.ts';
import { line } from './log-line.ts';
import { run, writePolicy } from './process.ts';

const skip = skipWithout('redis-server', 'redis-server');

const sample = fileURLToPath(new URL('../../policies', import.meta.url));
const CASES = `base:
  serverName: a.test
  method: GET
  path: /v1/models/vision/weights
  client: 127.0.0.1
  certificate: {}
  token: { scope: read }
cases:
  - name: reading
    expect: { outcome: admitted, route: weights }
  - name: writing
    request: { method: PUT, path: /v1/models/vision/patches/s1 }
    expect: insufficient-scope
`;

t.test('the sample policies have tests that cover their routes and rules', async (t) => {
  const files = ['a', 'b'].map((tenant) => join(sample, `tenant-${tenant}.test.yaml`));
  const { status, out } = await run(t, 'test', ...files, '--fail-under', '95');
  t.equal(status, 0, out);
  t.match(out, /30 of 31 routes and rules covered/);
});

t.test('a case with another outcome fails and names the line that decided', async (t) => {
  const { folder } = await writePolicy(t, '127.0.0.1:1');
  const file = join(folder, 'policies', 'x.test.yaml');
  await writeFile(file, CASES);
  t.match(await runHere('test', file), {
    status: 0,
    out: `${file}\n  ✓ reading\n  ✓ writing\n2 of 11 routes and rules covered (18.2 %)\n`,
  });
  t.match(await runHere('test', file, '--fail-under', '50'), {
    status: 1,
    out: /coverage is below 50 %\n$/,
  });
  await writeFile(file, CASES.replace('outcome: admitted', 'outcome: token-expired, status: 401'));
  t.match(await runHere('test', file), {
    status: 1,
    out: /✗ reading\n +expected outcome token-expired, got admitted\n +expected status 401, got none\n.*✓ writing/,
  });
  await writeFile(file, CASES.replace('expect: insufficient-scope', 'expect: admitted'));
  t.match(await run(t, 'test', file), {
    status: 1,
    out: /expected outcome admitted, got insufficient-scope \(The token does not grant the scope finetune here\. by .*tenant-a\.yaml:18\)/,
  });
});

t.test('the policy of a test file may be given relative to it or absolute', async (t) => {
  const { folder } = await writePolicy(t, '127.0.0.1:1');
  const file = join(folder, 'x.test.yaml');
  for (const policy of ['policies', join(folder, 'policies')]) {
    await writeFile(file, `policy: ${policy}\n${CASES}`);
    t.match(await runHere('test', file), { status: 0, out: /✓ reading\n {2}✓ writing/ }, policy);
  }
});

t.test('a test file that cannot be right is a fault with its place', async (t) => {
  const { folder } = await writePolicy(t, '127.0.0.1:1');
  const file = join(folder, 'policies', 'x.test.yaml');
  const faulty = async (from: string, to: string): Promise<string> => {
    await writeFile(file, CASES.replace(from, to));
    const { status, err, out } = await runHere('test', file);
    t.equal(status, 1);
    return err + out;
  };
  t.match(await faulty('expect: insufficient-scope', 'expect: refused'), `${file}:13:13 cases[1].expect`);
  t.match(await faulty('client: 127.0.0.1', 'client: 010.0.0.1'), `${file}:5:11 base.client`);
  t.match(await faulty('  method: GET', '  verb: GET'), `${file}:3:3 base.verb: unknown key verb`);
  t.match(await faulty('  client: 127.0.0.1\n', ''), '✗ reading\n      the request has no client');
  t.match(await faulty('scope: read', 'scope: read, issuer: other'), 'a.test has no issuer other');
  t.match(await faulty('base:', 'time: next year 2027\nbase:'), `${file}:1:7 time`);
  t.match(await faulty('base:', 'policy: nowhere\nbase:'), /nowhere.gateway\.yaml:1:1: cannot be read/);
  t.match(await runHere('test'), { status: 2, err: /missing FILE/ });
  t.match(await runHere('test', join(folder, 'none.yaml')), { status: 2, err: /cannot be read/ });
});

t.test('diff replays a log and reports what a changed policy decides otherwise, and why', async (t) => {
  const { folder } = await writePolicy(t, '127.0.0.1:1');
  const [old, next, log] = [join(folder, 'policies'), join(folder, 'next'), join(folder, 'access.jsonl')];
  await cp(old, next, { recursive: true });
  const missing = { 'token.sub': undefined, 'token.claims': undefined };
  const lines = [
    line(),
    line(),
    line({
      ...missing,
      'http.response.status_code': 401,
      'denial.code': 'token-expired',
      'decision.step': 'token',
    }),
    line({
      ...missing,
      'http.request.method': undefined,
      'url.path': undefined,
      'denial.code': 'bad-request',
      'decision.step': 'head',
    }),
    line({
      ...missing,
      'client.address': '198.51.100.7',
      'network.peer.address': '198.51.100.7',
      'denial.code': 'address-denied',
      'decision.step': 'allowlist',
    }),
    line({
      'http.request.method': 'PUT',
      'url.path': '/v1/models/vision/patches/s1',
      bytes_in: 700,
      'denial.code': 'patch-invalid',
      'decision.step': 'stream',
    }),
  ];
  await writeFile(log, `${lines.join('\n')}\n`);
  const diff = () => runHere('diff', '--old', old, '--new', next, '--replay', log);
  const same = await diff();
  t.equal(same.status, 0, same.out + same.err);
  t.match(
    same.out,
    /^5 requests replayed, 0 decided differently\n {2}1 skipped, their heads could not be read\n/,
  );
  const tenant = join(next, 'tenants', 'tenant-a.yaml');
  const text = await readFile(tenant, 'utf8');
  await writeFile(tenant, text.replace('require: { scope: read }', 'require: { scope: publish }'));
  t.match(await diff(), {
    status: 1,
    out: /5 requests replayed, 2 decided differently[\s\S]* 2 × admitted by weights → insufficient-scope by weights\n +GET \/v1\/models\/vision\/weights of 127\.0\.0\.1 \(.*access\.jsonl:1\)\n +The token does not grant the scope publish here\. \(.*next.*tenant-a\.yaml:27\)/,
  });
  await writeFile(tenant, text.replace('127.0.0.0/8', '0.0.0.0/0'));
  t.match(await diff(), { status: 1, out: /1 × address-denied by weights → token required by weights/ });
  await writeFile(log, `${lines[0]}\nnonsense\n`);
  t.match(await diff(), { status: 1, err: /access\.jsonl:2: not a line of the access log/ });
  await writeFile(tenant, 'tenant: [');
  t.match(await diff(), { status: 1, err: /tenant-a\.yaml:1/ });
  t.match(await runHere('diff', '--old', old), { status: 2, err: /missing --new/ });
});

t.test('check warns about everything in etcd that it did not read', async (t) => {
  const place = '/patchgate/tenants';
  const etcd = (tenants: string) => `  etcd: { endpoints: ['http://127.0.0.1:1'], tenants: ${tenants} }`;
  const { folder } = await writePolicy(t, '127.0.0.1:1', etcd(`${place}/`));
  const tenant = join(folder, 'policies', 'tenants', 'tenant-a.yaml');
  const text = await readFile(tenant, 'utf8');
  await writeFile(tenant, text.replace(' } }\nallow', ' }, fleet: { etcd: /fleet } }\nallow'));
  const { status, err } = await runHere('check', '--config', join(folder, 'policies'));
  t.equal(status, 0);
  t.match(err, `warning: etcd ${place}/: its tenants are skipped, no server is contacted\n`);
  t.match(err, 'warning: etcd /fleet: treated as empty, no server is contacted\n');
  const other = await writePolicy(t, '127.0.0.1:1', etcd(place));
  t.match(await runHere('check', '--config', join(other.folder, 'policies')), {
    status: 1,
    err: /gateway\.etcd\.tenants: "\/patchgate\/tenants" is invalid \(expected a prefix like \/patchgate\/tenants\/\)/,
  });
});

t.test(
  'test treats lists on other servers as empty and says so, while diff reads them',
  { skip },
  async (t) => {
    const redis = await startRedis(t);
    const client = new Redis(redis.port, '127.0.0.1');
    t.teardown(() => client.disconnect());
    const state = `  state: { redis: 'redis://127.0.0.1:${redis.port}' }`;
    const { folder } = await writePolicy(t, '127.0.0.1:1', state);
    const [old, next, log] = [join(folder, 'policies'), join(folder, 'next'), join(folder, 'access.jsonl')];
    const tenant = join(old, 'tenants', 'tenant-a.yaml');
    const text = await readFile(tenant, 'utf8');
    const denying = text.replace(
      ' } }\nallow: [local]',
      ' }, blocked: { redis: blocked } }\nallow: [local]\ndeny: [blocked]',
    );
    await writeFile(tenant, denying);
    const file = join(old, 'x.test.yaml');
    await writeFile(file, CASES);
    await client.sadd('blocked', '127.0.0.0/8');
    t.match(await runHere('test', file), {
      status: 0,
      out: /✓ reading/,
      err: 'redis blocked: treated as empty, no server is contacted\n',
    });
    await cp(old, next, { recursive: true });
    await writeFile(join(next, 'tenants', 'tenant-a.yaml'), text);
    await writeFile(log, `${line()}\n`);
    const diff = () => run(t, 'diff', '--old', old, '--new', next, '--replay', log);
    t.match(await diff(), { status: 1, out: /1 × address-denied by weights → admitted by weights/ });
    await client.srem('blocked', '127.0.0.0/8');
    t.match(await diff(), { status: 0, out: /^1 request replayed, 0 decided differently\n$/, err: '' });
    await redis.kill();
    t.match(await diff(), {
      status: 1,
      err: /^redis blocked:1:1: redis:\/\/127\.0\.0\.1:\d+ cannot be read/,
    });
  },
);

t.test('explain accepts a line of the access log', async (t) => {
  const { folder } = await writePolicy(t, '127.0.0.1:1');
  const explain = (text: string) =>
    runHere('explain', '--config', join(folder, 'policies'), '--access-line', text);
  t.match(await explain(line()), { status: 0, out: /2026-12-01T11:59:59\.996Z[\s\S]*→ admitted/ });
  t.match(
    await explain(
      line({ 'http.request.method': 'PUT', 'url.path': '/v1/models/other/patches/s', bytes_in: 1 }),
    ),
    {
      status: 1,
      out: /→ 403 claim-denied[\s\S]*would pass with the claim model_id = other/,
    },
  );
  const limited = await explain(line({ 'http.response.status_code': 429, 'denial.code': 'rate-limited' }));
  t.match(limited, { status: 0, out: /→ admitted[^\n]*\nthe log line says 429 rate-limited: / });
  t.notMatch((await explain(line())).out, /the log line/);
  t.match(await explain('{"a":1}'), { status: 2, err: /not a line of the access log/ });
});

t.test('a new key overwrites nothing, and a refused command leaves no file behind', async (t) => {
  const folder = await newFolder(t);
  const at = (name: string): string => join(folder, name);
  const make = (key: string) =>
    runHere('token', '--key', at(key), '--new-key', '--iss', 'https://auth.test', '--aud', 'weights');
  await writeFile(at('main.jwks.json'), 'the keys of others');
  t.match(await make('main.jwk'), { status: 2, out: '', err: /--new-key: EEXIST.*main\.jwks\.json/ });
  await writeFile(at('dev.jwk'), 'the key of another');
  t.match(await make('dev.jwk'), { status: 2, out: '', err: /--new-key: EEXIST.*dev\.jwk'/ });
  t.same((await readdir(folder)).sort(), ['dev.jwk', 'main.jwks.json']);
  t.equal(await readFile(at('main.jwks.json'), 'utf8'), 'the keys of others');
  t.equal(await readFile(at('dev.jwk'), 'utf8'), 'the key of another');
});

t.test('token makes a key readable by its owner only and signs tokens that the policy accepts', async (t) => {
  const { folder } = await writePolicy(t, '127.0.0.1:1');
  const key = join(folder, 'dev.jwk');
  const words = ['token', '--key', key, '--iss', 'https://auth.test', '--aud', 'weights'];
  t.match(await runHere(...words), { status: 2, err: /--key: ENOENT/ });
  const { status, out, err } = await run(
    t,
    ...words,
    '--new-key',
    '--scope',
    'read',
    '--claim',
    'model_id=vision',
  );
  t.equal(status, 0, err);
  t.equal((await stat(key)).mode & 0o777, 0o600);
  t.match(await runHere(...words, '--new-key'), { status: 2, err: /EEXIST/ }, 'no key is overwritten');
  await cp(join(folder, 'dev.jwks.json'), join(folder, 'policies', 'tenants', 'keys.json'));
  t.notMatch(await readFile(join(folder, 'dev.jwks.json'), 'utf8'), '"d"');
  await writeFile(join(folder, 'dev.jwt'), out);
  const gateway = join(folder, 'policies', 'gateway.yaml');
  const text = await readFile(gateway, 'utf8');
  await writeFile(gateway, text.replace('name: edge', 'name: edge\n      clientCertificates: optional'));
  const asked = ['--peer', '127.0.0.1', '--path', '/v1/models/vision/weights'];
  const presented = ['--token-file', join(folder, 'dev.jwt')];
  const explained = await runHere('explain', '--config', join(folder, 'policies'), ...asked, ...presented);
  t.match(explained, { status: 0, out: /sub developer/ });
  for (const wrong of [['--claim', 'x'], ['--expires-in', 'soon'], ['--certificate', key], ['--new-key=1']])
    t.match(await runHere(...words, ...wrong), { status: 2 }, wrong.join(' '));
});
