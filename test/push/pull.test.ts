/** A pull fetches the weights of a version, whole or as patches, and puts only verified weights in place. */

import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { pullModel } from '../../gateway/push/pull.ts';
import { createModel } from '../../gateway/sync-node/create-model.ts';
import { startSyncNode } from '../../gateway/sync-node/sync-node.ts';
import { newFolder } from '../new-folder.ts';
import { writeShards } from '../patch/sharded-model.ts';
import { put } from '../sync-node/asking.ts';
import { setNode as setSmallNode } from '../sync-node/set-node.ts';
import { MODEL, Training } from '../sync-node/training.ts';
import { cutLine } from './cutting-line.ts';

/** A node at version 3 with all versions but the first. */
async function setNode(t: Test) {
  const set = await setSmallNode(t, 65);
  for (let version = 0; version < 3; version++) {
    await put(set.url, await set.training.patch(version, await set.training.train()));
  }
  const outPath = join(set.folder, 'pulled');
  const left = async () => (await readdir(set.folder)).filter((name) => name.startsWith('pulled')).sort();
  return { ...set, options: { to: set.url, modelId: MODEL, outPath, pauseMs: 1 }, outPath, left };
}

t.test('the current version is fetched whole, and a second pull fetches nothing', async (t) => {
  const { options, outPath, training, left } = await setNode(t);
  const result = await pullModel(options);
  const weights = await training.read(3);
  t.match(result, { version: 3, patches: 0, bytesReceived: weights.length, resumedAt: [] });
  t.ok((await readFile(outPath)).equals(weights));
  t.same(await left(), ['pulled']);
  t.match(await pullModel(options), { version: 3, bytesReceived: 0 });
});

t.test('with local weights only the patches since then are fetched', async (t) => {
  const { options, outPath, training, left } = await setNode(t);
  const base = training.pathOf(1);
  const result = await pullModel({ ...options, basePath: base });
  t.match(result, { version: 3, patches: 2 });
  t.ok(
    result.bytesReceived < (await training.read(3)).length,
    `the pull received ${result.bytesReceived} bytes`,
  );
  t.ok((await readFile(outPath)).equals(await training.read(3)), 'the weights are equal bit for bit');
  t.same(await left(), ['pulled']);
  t.match(await pullModel({ ...options, outPath: `${outPath}-2`, basePath: base, since: 1, version: 2 }), {
    version: 2,
    patches: 1,
  });
});

t.test('the output file itself may be the base of the patches', async (t) => {
  const { options, outPath, training } = await setNode(t);
  await writeFile(outPath, await training.read(1));
  t.match(await pullModel({ ...options, basePath: outPath }), { patches: 2 });
  t.ok((await readFile(outPath)).equals(await training.read(3)));
});

t.test('weights that already are the version are copied and stay where they are', async (t) => {
  const { options, outPath, training, left } = await setNode(t);
  const base = training.pathOf(3);
  t.match(await pullModel({ ...options, basePath: base }), { version: 3, patches: 0, bytesReceived: 0 });
  t.ok((await readFile(outPath)).equals(await training.read(3)));
  t.ok((await readFile(base)).equals(await training.read(3)), 'the base is still there');
  t.same(await left(), ['pulled']);
});

t.test('weights in several files stay as they are, and the result is one file', async (t) => {
  const { options, outPath, training, folder } = await setNode(t);
  for (const version of [1, 3]) {
    const base = join(folder, `shards-${version}`);
    await writeShards(base, training.tensors(version), ({ name }) => (name < 'l' ? 1 : 2));
    const before = await readdir(base);
    t.match(await pullModel({ ...options, basePath: base }), { version: 3, patches: version === 1 ? 2 : 0 });
    t.ok(
      (await readFile(outPath)).equals(await training.read(3)),
      `the result is right from version ${version}`,
    );
    t.same(await readdir(base), before);
    await rm(outPath);
  }
});

t.test('if no patches lead to the version it is fetched whole', async (t) => {
  const { options, training, root, outPath } = await setNode(t);
  t.match(await pullModel({ ...options, basePath: training.pathOf(0) }), { patches: 0, version: 3 });
  await rm(outPath);
  await rm(join(root, MODEL, '3.patch'));
  t.match(await pullModel({ ...options, basePath: training.pathOf(1) }), { patches: 0, version: 3 });
  await rm(outPath);
  const spoiled = await readFile(join(root, MODEL, '2.patch'));
  spoiled[300] = (spoiled[300] ?? 0) ^ 1;
  await writeFile(join(root, MODEL, '2.patch'), spoiled);
  t.match(await pullModel({ ...options, basePath: training.pathOf(1), version: 2 }), {
    patches: 0,
    version: 2,
  });
  t.ok((await readFile(outPath)).equals(await training.read(2)));
});

t.test('a good patch that leads to other weights than the version is not believed', async (t) => {
  const { options, training, root, outPath } = await setNode(t);
  const other = await training.patch(2, await training.train(2));
  await writeFile(join(root, MODEL, '3.patch'), other.bytes);
  const result = await pullModel({ ...options, basePath: training.pathOf(2) });
  t.match(result, { version: 3, patches: 0 }, 'the whole version was fetched');
  t.ok((await readFile(outPath)).equals(await training.read(3)));
});

t.test('a missing version and a wrong base are reported', async (t) => {
  const { options, training } = await setNode(t);
  await t.rejects(pullModel({ ...options, version: 0 }), {
    message: 'the receiver has no version 0; it has 1, 2, 3',
  });
  await t.rejects(pullModel({ ...options, basePath: training.pathOf(2), since: 1 }), {
    message: /weights-2\.safetensors is not version 1: its digest is/,
  });
  await t.rejects(pullModel({ ...options, modelId: 'unknown_model' }), { message: /^refused with 404/ });
});

/** A node whose model is large enough to be cut in many places. */
async function setLargeNode(t: Test) {
  const folder = await newFolder(t);
  const training = await Training.begin(folder, 66, [['w', 'F32', [300_000]]]);
  const root = join(folder, 'models');
  await createModel(root, MODEL, training.pathOf(0));
  const node = await startSyncNode({ root });
  t.teardown(() => node.close());
  return { node, training, outPath: join(folder, 'pulled') };
}

/** Forwards answers until so many bytes of them passed, one number per connection. */
async function cutAnswers(t: Test, to: string, cuts: readonly number[]) {
  const ranges: (string | undefined)[] = [];
  const server = createServer(async (request, response) => {
    const headers = Object.fromEntries(
      Object.entries(request.headers).filter(([name]) => ['range', 'if-range'].includes(name)),
    ) as Record<string, string>;
    const answer = await fetch(`${to}${request.url}`, { headers });
    const body = Buffer.from(await answer.arrayBuffer());
    response.writeHead(answer.status, { 'content-length': body.length });
    const cut = request.url?.endsWith('/weights') ? cuts[ranges.push(request.headers.range) - 1] : undefined;
    if (cut === undefined) response.end(body);
    else response.write(body.subarray(0, cut), () => setTimeout(() => response.destroy(), 50));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  return { to: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, ranges };
}

t.test('a pull that is cut fetches only what is missing, in this run or the next', async (t) => {
  const { node, training, outPath } = await setLargeNode(t);
  const weights = await training.read(0);
  const line = await cutAnswers(t, node.url, [100_000, 300_000, 200_000]);
  const options = { to: line.to, modelId: MODEL, outPath, pauseMs: 1 };
  await t.rejects(pullModel({ ...options, retries: 0 }), { message: /cannot be reached/ });
  await t.rejects(readFile(outPath), { code: 'ENOENT' }, 'nothing is in place before it is whole');
  const result = await pullModel(options);
  t.same(result.resumedAt.length, 3);
  t.same(line.ranges[0], undefined);
  t.same(
    line.ranges.slice(1),
    result.resumedAt.map((at) => `bytes=${at}-`),
  );
  t.equal(result.bytesReceived + (result.resumedAt[0] ?? 0), weights.length, 'no byte came twice');
  t.ok((await readFile(outPath)).equals(weights));
});

t.test('wrong weights are not put in place', async (t) => {
  const { node, training, outPath } = await setLargeNode(t);
  const { digest } = (await fetch(`${node.url}/v1/models/${MODEL}`).then((each) => each.json())) as {
    digest: string;
  };
  const part = `${outPath}.${digest.slice(0, 16)}.part`;
  const spoiled = await training.read(0);
  spoiled[spoiled.length - 1] = (spoiled.at(-1) ?? 0) ^ 1;
  await writeFile(part, spoiled);
  await writeFile(`${outPath}.${'0'.repeat(16)}.part`, 'of another version');
  const options = { to: node.url, modelId: MODEL, outPath, pauseMs: 1 };
  await t.rejects(pullModel(options), { message: /the received file is not version 0: its digest is/ });
  t.same(
    (await readdir(dirname(outPath))).filter((name) => name.startsWith('pulled')),
    [],
  );
  t.match(await pullModel(options), { version: 0 }, 'the next pull fetches them anew');
});

t.test('partial files of another pull are left alone', async (t) => {
  const { options, folder, training } = await setNode(t);
  const others = [`pulled.large.${'0'.repeat(16)}.part`, 'pulled.patch', 'pulled.step-0'];
  for (const name of others) await writeFile(join(folder, name), 'of somebody else');
  await pullModel(options);
  await pullModel({ ...options, version: 2, basePath: training.pathOf(1) });
  const names = await readdir(folder);
  t.same(
    others.filter((name) => !names.includes(name)),
    [],
  );
});

t.test('a pull over a line that stays broken is given up', async (t) => {
  const { node, outPath } = await setLargeNode(t);
  const cuts = [{ answer: '"digest"' }, ...Array.from({ length: 9 }, () => ({ sent: 5 }))];
  const line = await cutLine(t, node.port, cuts);
  await t.rejects(pullModel({ to: line.url, modelId: MODEL, outPath, pauseMs: 1, retries: 2 }), {
    message: /cannot be reached/,
  });
});
