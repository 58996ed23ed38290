/** The image of the Dockerfile runs as an unprivileged user with nothing to write to. */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, copyFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { PLAIN, runPlainly } from '../commands/plain-process.ts';
import { ports, writePolicy } from '../commands/process.ts';
import { skipWithout } from '../lists/servers.ts';
import { newFolder } from '../new-folder.ts';
import { exchange, HOST, isWhole, rawNode, secure } from '../path/stage.ts';
import { readText } from './deployed.ts';
import { buildByHand } from './image-steps.ts';

const skip =
  skipWithout('setpriv', 'util-linux') ||
  (process.getuid?.() !== 0 && 'another user can be taken by root alone');

t.test('the image serves, reports its health and drains', { skip }, async (t) => {
  const folder = await newFolder(t);
  await chmod(folder, 0o755);
  const image = await buildByHand(folder);
  const inImage = (word: string): string => (word.startsWith('/opt/') ? join(image.root, word) : word);
  const node = join(folder, 'node');
  await copyFile(process.execPath, node);

  await t.test('the image holds production dependencies and built files, but no source', async (t) => {
    const manifest = JSON.parse(readText('package.json')) as {
      readonly dependencies: Readonly<Record<string, string>>;
      readonly devDependencies: Readonly<Record<string, string>>;
    };
    const app = join(image.root, 'opt/patchgate');
    t.same((await readdir(app)).toSorted(), ['LICENSE', 'dist', 'node_modules', 'package.json']);
    for (const name of Object.keys(manifest.dependencies))
      t.ok(existsSync(join(app, 'node_modules', name)), name);
    for (const name of Object.keys(manifest.devDependencies))
      t.notOk(existsSync(join(app, 'node_modules', name)), name);
  });

  const upstream = await rawNode(t, (socket) =>
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'),
  );
  const { folder: place, caller } = await writePolicy(t, upstream.address);
  const policies = join(folder, 'policy');
  execFileSync('cp', ['-r', '--no-preserve=mode', place, policies]);
  execFileSync('sed', ['-i', 's/file: .*access.log/file: "-"/', join(policies, 'policies', 'gateway.yaml')]);
  const words = [...image.entrypoint, ...image.command].map(inImage).slice(1);
  const [uid = '', gid = ''] = image.user.split(':');
  const asUser = [
    ...['--reuid', uid, '--regid', gid, '--clear-groups', '--no-new-privs', '--bounding-set', '-all'],
    ...PLAIN,
  ];
  const child = spawn(
    'setpriv',
    [
      ...asUser,
      node,
      ...words.map((word) => word.replace('/etc/patchgate/policies', join(policies, 'policies'))),
    ],
    { cwd: '/', env: { ...image.environment }, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  t.teardown(() => void child.kill('SIGKILL'));
  const output = { out: '', err: '' };
  for (const [name, stream] of [
    ['out', child.stdout],
    ['err', child.stderr],
  ] as const)
    stream.on('data', (piece: Buffer) => {
      output[name] += piece.toString();
    });
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  const { edge, admin } = await ports({ child, output, ended: ended.then((status) => status ?? '') });

  await t.test('the process runs as the user of the Dockerfile without capabilities', async (t) => {
    const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
    t.match(status, new RegExp(`^Uid:\\s+${uid}\\s+${uid}\\s+${uid}\\s`, 'm'));
    t.match(status, /^CapEff:\s+0+$/m);
    t.throws(() =>
      execFileSync('setpriv', [...asUser, 'touch', inImage('/opt/patchgate/dist/x')], { stdio: 'pipe' }),
    );
  });

  await t.test('the image answers a request', async (t) => {
    const socket = await secure({ host: '127.0.0.1', port: edge, ...caller });
    t.match(
      await exchange(socket, `GET /open/x HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`, isWhole),
      /^HTTP\/1\.1 200 /,
    );
    socket.destroy();
  });

  const health = (): number => {
    const [, ...rest] = image.healthcheck;
    const env = { ...image.environment, PATCHGATE_ADMIN: `http://127.0.0.1:${admin}` };
    try {
      runPlainly([node, ...rest], { env });
      return 0;
    } catch (error) {
      return (error as { readonly status: number }).status;
    }
  };

  await t.test('the health check succeeds while the gateway runs and fails afterwards', async (t) => {
    t.equal(health(), 0);
    child.kill('SIGTERM');
    t.equal(await ended, 0, output.err);
    t.equal(health(), 1);
  });
});
