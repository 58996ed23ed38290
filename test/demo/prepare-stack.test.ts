/** What the stack needs on disk is made once; only the tokens, bound to the kept certificates, are made every time. */
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { decodeJwt } from 'jose';
import t from 'tap';
import { prepareStack } from '../../gateway/demo/prepare-stack.ts';
import { run } from '../commands/process.ts';

t.test('a second run keeps certificates, models and passwords, and makes new tokens', async (t) => {
  const folder = t.testdir({});
  const read = (...names: readonly string[]): Promise<string> => readFile(join(folder, ...names), 'latin1');
  const kept = [
    ['certs', 'dev', 'ca.pem'],
    ['grafana-password'],
    ['nodes', 'sync-1', 'topics', 'state.json'],
  ];
  const made = [
    ['callers', 'tenant-a.token'],
    ['keys', 'main.jwks.json'],
  ];
  const lines = await prepareStack(folder);
  await writeFile(join(folder, 'nodes', 'sync-1', 'topics', '0.safetensors'), 'trained on');
  const before = await Promise.all([...kept, ...made].map((names) => read(...names)));
  t.same(await prepareStack(folder), lines);
  const after = await Promise.all([...kept, ...made].map((names) => read(...names)));
  t.same(after.slice(0, kept.length), before.slice(0, kept.length));
  for (const [index, text] of after.slice(kept.length).entries()) t.not(text, before[kept.length + index]);
  t.equal(await read('nodes', 'sync-1', 'topics', '0.safetensors'), 'trained on');
});

t.test('only the owner can read tokens and passwords, and no issuer key is left behind', async (t) => {
  const folder = t.testdir({});
  await prepareStack(folder);
  for (const name of ['callers/tenant-a.token', 'grafana-password'])
    t.equal((await stat(join(folder, name))).mode & 0o777, 0o600, name);
  const { keys } = JSON.parse(await readFile(join(folder, 'keys', 'main.jwks.json'), 'utf8'));
  t.same(
    keys.map((key: object) => 'd' in key),
    [false],
  );
  const token = decodeJwt((await readFile(join(folder, 'callers', 'tenant-b.token'), 'utf8')).trim());
  t.match(token, { sub: 'worker-1.tenant-b', cnf: { 'x5t#S256': /^[\w-]{43}$/ } });
});

t.test('the command line accepts --prepare only with a folder and without --once', async (t) => {
  t.match(await run(t, 'demo', '--prepare', t.testdir({})), { status: 0, out: /docker compose up/ });
  t.match(await run(t, 'demo', '--once', '--prepare', 'x'), {
    status: 2,
    err: /--prepare: expected a folder/,
  });
  t.match(await run(t, 'demo', '--prepare='), { status: 2, err: /--prepare: expected a folder/ });
});
