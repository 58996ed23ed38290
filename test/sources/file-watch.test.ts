/** A change is noticed however it was made, and only changes are. */
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { FileWatch, type FileWatchOptions } from '../../gateway/sources/file-watch.ts';

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function watching(t: Test, paths: readonly string[], options: FileWatchOptions = {}) {
  const watch = new FileWatch({ settleMs: 10, pollMs: 60_000, ...options });
  t.teardown(() => watch.close());
  const heard = { count: 0 };
  const stop = await watch.watch(paths, () => {
    heard.count += 1;
  });
  const next = async (): Promise<boolean> => {
    const before = heard.count;
    for (let waits = 0; waits < 400 && heard.count === before; waits += 1) await sleep(5);
    return heard.count > before;
  };
  return { heard, next, stop };
}

t.test('a file that is written, replaced, removed or restored is noticed', async (t) => {
  const folder = t.testdir({ name: { 'a.pem': 'one', 'b.pem': 'one' } });
  const a = join(folder, 'name', 'a.pem');
  const { next, heard } = await watching(t, [a, join(folder, 'name', 'b.pem')]);
  writeFileSync(a, 'two');
  t.ok(await next(), 'the write is noticed');
  writeFileSync(join(folder, 'name', 'new'), 'three');
  await sleep(60);
  t.equal(heard.count, 1, 'another file of the folder does not matter');
  renameSync(join(folder, 'name', 'new'), a);
  t.ok(await next(), 'the replacement is noticed');
  rmSync(a);
  t.ok(await next(), 'the removal is noticed');
  writeFileSync(a, 'three');
  t.ok(await next(), 'the restored file is noticed');
});

t.test('many writes at once are one change', async (t) => {
  const folder = t.testdir({ 'a.pem': 'one', 'b.pem': 'one' });
  const paths = [join(folder, 'a.pem'), join(folder, 'b.pem')];
  const { next, heard } = await watching(t, paths, { settleMs: 100 });
  for (let turn = 0; turn < 20; turn += 1) for (const path of paths) writeFileSync(path, String(turn));
  t.ok(await next());
  await sleep(200);
  t.equal(heard.count, 1);
});

t.test('the swap of ..data in a Kubernetes volume is noticed', async (t) => {
  const folder = t.testdir({ name: { '..one': { 'a.pem': 'one' }, '..two': { 'a.pem': 'two' } } });
  const at = (...names: string[]): string => join(folder, 'name', ...names);
  symlinkSync('..one', at('..data'));
  symlinkSync(join('..data', 'a.pem'), at('a.pem'));
  const { next } = await watching(t, [at('a.pem')]);
  symlinkSync('..two', at('..data_tmp'));
  renameSync(at('..data_tmp'), at('..data'));
  t.ok(await next());
});

t.test('a link to a file elsewhere, over another link: whatever of them changes', async (t) => {
  const folder = t.testdir({ name: {}, store: { one: { a: '1' }, two: { a: '2' } }, aside: {} });
  const at = (...names: string[]): string => join(folder, ...names);
  symlinkSync(at('store', 'one'), at('aside', 'current'));
  symlinkSync(at('aside', 'current', 'a'), at('name', 'a'));
  const { next } = await watching(t, [at('name', 'a')]);
  writeFileSync(at('store', 'one', 'a'), 'three');
  t.ok(await next(), 'written');
  writeFileSync(at('store', 'one', 'new'), 'four');
  renameSync(at('store', 'one', 'new'), at('store', 'one', 'a'));
  t.ok(await next(), 'replaced');
  symlinkSync(join('..', 'store', 'two'), at('aside', 'new'));
  renameSync(at('aside', 'new'), at('aside', 'current'));
  t.ok(await next(), 'another link on the way');
  writeFileSync(at('store', 'two', 'a'), 'five');
  t.ok(await next(), 'written there');
  symlinkSync(at('store', 'one', 'a'), at('name', 'new'));
  renameSync(at('name', 'new'), at('name', 'a'));
  t.ok(await next(), 'another target');
  writeFileSync(at('store', 'one', 'a'), 'six');
  t.ok(await next(), 'which is watched from then on');
});

t.test('a folder that is replaced, removed or created later is noticed each time', async (t) => {
  const folder = t.testdir({ name: { 'a.pem': 'one' }, next: { 'a.pem': 'two' } });
  const { next } = await watching(t, [join(folder, 'name', 'a.pem')]);
  rmSync(join(folder, 'name'), { recursive: true });
  t.ok(await next(), 'the removed folder is noticed');
  renameSync(join(folder, 'next'), join(folder, 'name'));
  t.ok(await next(), 'the other folder is noticed');
  writeFileSync(join(folder, 'name', 'a.pem'), 'three');
  t.ok(await next(), 'a change inside that folder is noticed');
  rmSync(join(folder, 'name'), { recursive: true });
  t.ok(await next());
  mkdirSync(join(folder, 'name'));
  await sleep(50);
  writeFileSync(join(folder, 'name', 'a.pem'), 'four');
  t.ok(await next());
});

t.test('the poll finds a change that the system does not report', async (t) => {
  const folder = t.testdir({});
  const far = join(folder, 'x', 'y', 'z', 'a.pem');
  const { next } = await watching(t, [far], { pollMs: 30 });
  mkdirSync(join(folder, 'x', 'y', 'z'), { recursive: true });
  writeFileSync(far, 'one');
  t.ok(await next());
});

t.test('nothing is noticed after the end of a watch', async (t) => {
  const folder = t.testdir({ 'a.pem': 'one' });
  const { heard, stop } = await watching(t, [join(folder, 'a.pem')]);
  writeFileSync(join(folder, 'a.pem'), 'two');
  stop();
  await sleep(60);
  t.equal(heard.count, 0);
});
