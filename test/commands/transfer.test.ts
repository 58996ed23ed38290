/** `push`, `pull` and `node` as processes: what they say, and a disk that is full. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { createModel } from '../../gateway/sync-node/create-model.ts';
import { ask, put } from '../sync-node/asking.ts';
import { setNode } from '../sync-node/set-node.ts';
import { MODEL, Training } from '../sync-node/training.ts';
import { cli, run } from './process.ts';

const token = ['--token', 'of-nobody'];

t.test('what was to be sent is told, sent, and brought back', async (t) => {
  const { url, training, root } = await setNode(t);
  await training.train();
  const at = (name: string): string => join(root, '..', name);
  const there = ['--to', url, '--model', MODEL, ...token, '--target', training.pathOf(1)];
  const planned = await run(t, 'push', ...there, '--base', training.pathOf(0), '--dry-run');
  t.match(
    planned.out,
    /^would send version 1, from 0: \d+ of 1301 weights \(\d+\.\d %\) in 2 tensors, (\d+) bytes/,
  );
  t.equal((await ask(url, 'GET', `/v1/models/${MODEL}`)).json['version'], 0, 'nothing was sent');
  const pushed = await run(t, 'push', ...there, '--shadow', at('shadow'));
  const [, bytes] = /, (\d+) bytes/.exec(planned.out) ?? [];
  t.match(pushed.out, /100% .* of the model\n/);
  t.match(
    pushed.out,
    new RegExp(`\\nversion 1: \\d+ weights changed, ${bytes} bytes sent for a model of \\d+ \\(.* %\\)`),
  );
  const here = ['--from', url, '--model', MODEL, ...token, '--out', at('pulled')];
  t.match(
    (await run(t, 'pull', ...here, '--version', '0')).out,
    /^version 0: \d+ bytes received to .*pulled, digest/m,
  );
  t.match(
    (await run(t, 'pull', ...here, '--since', '0')).out,
    /^version 1: \d+ bytes received in 1 patches to/m,
  );
  t.ok((await readFile(at('pulled'))).equals(await training.read(1)));
  const late = await run(t, 'push', ...there, '--base', training.pathOf(0));
  t.equal(late.status, 1);
  t.match(
    late.err,
    /is not what the receiver has: .*; the receiver is at version 1, .* push with --shadow and --rebase\n$/,
  );
});

const usages: readonly (readonly [readonly string[], RegExp])[] = [
  [['push', '--to', 'x', '--model', 'm', ...token, '--target', 't'], /--base or --shadow is missing/],
  [['push', '--base', 'b', '--threshold', '1'], /go with --shadow/],
  [['push', '--base', 'b', '--rebase'], /go with --shadow/],
  [['push', '--shadow', 's', '--threshold=-1'], /--threshold takes a number from 0 on/],
  [['push', '--shadow', 's', '--values', 'f64'], /--values is one of f32, f16, bf16, i8/],
  [['push', '--shadow', 's', '--epoch', 'last'], /--epoch takes a whole number/],
  [['push', '--to', 'x', '--shadow', 's', '--token', '@missing'], /--token: ENOENT/],
  [['pull', '--model', 'm'], /--out is missing/],
  [['pull', '--out', 'f', '--since', 'then'], /--since takes a whole number/],
  [['node', '--root', 'r', '--keep', '0'], /--keep takes a number of versions from 1 on/],
];

t.test('words that cannot be used are told, and the status is 2', async (t) => {
  for (const [words, said] of usages) {
    const { status, err } = await run(t, ...words);
    t.equal(status, 2, words.join(' '));
    t.match(err, said);
  }
});

/** A node whose files cannot grow beyond so many bytes: what a full disk looks like to it. */
async function startBounded(t: Test, root: string, maxBytes: number): Promise<string> {
  const command = `ulimit -f ${Math.floor(maxBytes / 512)}; exec "$0" "$@"`;
  const words = [process.execPath, cli, 'node', '--root', root, '--listen', '127.0.0.1:0'];
  const child = spawn('sh', ['-c', command, ...words], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(async () => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  });
  let text = '';
  for await (const part of child.stdout) {
    text += part;
    const [url] = /http:\/\/[0-9.:]+/.exec(text) ?? [];
    if (url !== undefined) return url;
  }
  throw new Error('the node did not start');
}

t.test('a node without room says 507, and every version is whole', async (t) => {
  const folder = t.testdir({});
  const training = await Training.begin(folder, 77, [['w', 'F32', [50_000]]]);
  const root = join(folder, 'models');
  await createModel(root, MODEL, training.pathOf(0));
  const patch = await training.patch(0, await training.train());
  const before = (await training.read(0)).length;
  t.ok(patch.bytes.length < 120_000 && before > 180_000);
  // Room for less than the stream; for the stream, not for the model; for all.
  for (const [room, status, kept] of [
    [8192, 507, 0],
    [150_000, 507, 1],
    [before + 512, 201, 0],
  ] as const) {
    const url = await startBounded(t, root, room);
    const answer = await put(url, patch);
    t.equal(answer.status, status, `room for ${room} bytes a file`);
    const { json } = await ask(url, 'GET', `/v1/models/${MODEL}`);
    const version = status === 201 ? 1 : 0;
    t.equal(json['version'], version);
    const weights = await ask(url, 'GET', `/v1/models/${MODEL}/weights`);
    t.ok(weights.body.equals(await training.read(version)), 'to the bit');
    const uploads = await readdir(join(root, MODEL, 'uploads'));
    if (kept === 1) t.ok(uploads.includes(patch.streamId), 'what was sent is kept for when there is room');
    const names = (await readdir(join(root, MODEL))).filter((name) => name.endsWith('.new'));
    t.same(names, [], 'nothing half-made is left');
  }
});
