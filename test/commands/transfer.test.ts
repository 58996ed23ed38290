/** `push` and `pull` as processes: what they report of their work and of unusable arguments. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { writeShards } from '../patch/sharded-model.ts';
import { ask } from '../sync-node/asking.ts';
import { setNode } from '../sync-node/set-node.ts';
import { MODEL } from '../sync-node/training.ts';
import { runHere } from './here.ts';
import { run } from './process.ts';

const token = ['--token', 'of-nobody'];

t.test('a push is announced by a dry run, sent, and pulled back', async (t) => {
  const { url, training, root } = await setNode(t);
  await training.train();
  const at = (name: string): string => join(root, '..', name);
  const there = ['--to', url, '--model', MODEL, ...token, '--target', training.pathOf(1)];
  const planned = await run(t, 'push', ...there, '--base', training.pathOf(0), '--dry-run');
  t.match(
    planned.out,
    /^would send version 1, from 0: \d+ of 1302 weights \(\d+\.\d %\) in 3 tensors, (\d+) bytes/,
  );
  t.equal((await ask(url, 'GET', `/v1/models/${MODEL}`)).json['version'], 0, 'a dry run sends nothing');
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
    /^version 1: \d+ bytes received in 1 patch to/m,
  );
  t.ok((await readFile(at('pulled'))).equals(await training.read(1)));
  const late = await run(t, 'push', ...there, '--base', training.pathOf(0));
  t.equal(late.status, 1);
  t.match(
    late.err,
    /is not what the receiver has: .*; the receiver is at version 1, .* push with --shadow and --rebase\n$/,
  );
});

t.test('the progress of a push is a share of all files of the model', async (t) => {
  const { url, training, folder } = await setNode(t);
  await training.train();
  const target = await writeShards(join(folder, 'target'), training.tensors(1), ({ name }) =>
    name < 'l' ? 1 : 2,
  );
  const there = ['--to', url, '--model', MODEL, ...token, '--base', training.pathOf(0), '--target', target];
  const { status, out } = await runHere('push', ...there);
  t.equal(status, 0);
  const [, share] = /^100% .*, (\d+\.\d %) of the model$/m.exec(out) ?? [];
  t.equal(share, /for a model of \d+ \((.* %)\)/.exec(out)?.[1]);
  t.ok(share, out);
});

const usages: readonly (readonly [readonly string[], RegExp])[] = [
  [['push', '--to', 'x', '--model', 'm', ...token, '--target', 't'], /missing --base or --shadow/],
  [['push', '--base', 'b', '--threshold', '1'], /require --shadow/],
  [['push', '--base', 'b', '--rebase'], /require --shadow/],
  [['push', '--shadow', 's', '--threshold=-1'], /--threshold: expected a number of at least 0, got -1/],
  [['push', '--shadow', 's', '--values', 'f64'], /--values: expected one of f32, f16, bf16, i8, got f64/],
  [['push', '--shadow', 's', '--epoch', 'last'], /--epoch: expected a whole number .*, got last/],
  [['push', '--to', 'x', '--shadow', 's', '--token', '@missing'], /--token: ENOENT/],
  [['pull', '--model', 'm'], /missing --out/],
  [['pull', '--out', 'f', '--since', 'then'], /--since: expected a whole number .*, got then/],
  [['node', '--root', 'r', '--keep', '0'], /--keep: expected a number from 1 to 999999, got 0/],
];

t.test('unusable arguments are reported with status 2', async (t) => {
  for (const [words, said] of usages) {
    const { status, err } = await runHere(...words);
    t.equal(status, 2, words.join(' '));
    t.match(err, said);
  }
});
