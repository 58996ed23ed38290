/** Which versions stay: the latest and the published ones, also across a restart. */

import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { createModel } from '../../gateway/sync-node/create-model.ts';
import { startSyncNode } from '../../gateway/sync-node/sync-node.ts';
import { ask, patchPath, put } from './asking.ts';
import { setNode, versionAt } from './set-node.ts';
import { MODEL } from './training.ts';

const stream = 'a'.repeat(32);

t.test('a published version stays, and others are removed after three newer ones', async (t) => {
  const { url, training, root } = await setNode(t);
  for (let version = 0; version < 6; version++) {
    if (version === 1) {
      const { status, json } = await ask(url, 'POST', `/v1/models/${MODEL}/versions/1`);
      t.equal(status, 200);
      t.match(json, { model_id: MODEL, version: 1, digest: /^[0-9a-f]{64}$/, published: true });
      t.equal(
        (await ask(url, 'POST', `/v1/models/${MODEL}/versions/1`)).status,
        200,
        'publishing twice is the same as once',
      );
    }
    t.equal((await put(url, await training.patch(version, await training.train()))).status, 201);
  }
  const files = (await readdir(join(root, MODEL))).filter((name) => name.endsWith('.safetensors')).sort();
  t.same(files, ['1.safetensors', '4.safetensors', '5.safetensors', '6.safetensors']);
  t.ok((await readFile(join(root, MODEL, '1.safetensors'))).equals(await training.read(1)));
  t.same((await ask(url, 'GET', `/v1/models/${MODEL}`)).json['published'], [1]);
  t.equal(
    (await ask(url, 'POST', `/v1/models/${MODEL}/versions/3`)).status,
    404,
    'a removed version is not found',
  );
  t.equal(
    (await ask(url, 'POST', `/v1/models/${MODEL}/versions/7`)).status,
    404,
    'a future version is not found',
  );
});

t.test('a version number that leaps ahead does not evict the versions before it', async (t) => {
  const { url, training, root } = await setNode(t);
  await put(url, await training.patch(0, await training.train()));
  const leap = await put(url, await training.patch(1, await training.train(), 1, 1000));
  t.match(leap.json, { version: 1000 });
  const files = (await readdir(join(root, MODEL))).filter((name) => name.endsWith('.safetensors'));
  t.same(files.sort(), ['0.safetensors', '1.safetensors', '1000.safetensors']);
});

t.test('a node restarted on the same folder continues where it was', async (t) => {
  const { url, training, root, node } = await setNode(t);
  const patch = await training.patch(0, await training.train());
  await put(url, patch);
  await node.close();
  const again = await startSyncNode({ root });
  t.teardown(() => again.close());
  t.match((await ask(again.url, 'GET', `/v1/models/${MODEL}`)).json, { version: 1, digest: patch.digest });
  t.equal((await put(again.url, patch)).status, 200, 'it knows the streams it has had');
  t.equal((await put(again.url, await training.patch(1, await training.train()))).status, 201);
});

t.test('only the remains of a crash are swept at the start', async (t) => {
  const { training, root, node, url } = await setNode(t);
  await put(url, await training.patch(0, await training.train()));
  await node.close();
  const folder = join(root, MODEL);
  const before = (await readdir(folder)).filter((name) => name !== 'uploads').sort();
  await mkdir(join(folder, 'uploads'), { recursive: true });
  await mkdir(join(root, 'not-a-model'), { recursive: true });
  const left = [
    '2.safetensors',
    '01.safetensors',
    `${stream}.new`,
    'state.json.new',
    join('uploads', stream),
  ];
  for (const name of left) await writeFile(join(folder, name), 'half');
  await writeFile(join(root, 'not-a-model', 'notes.txt'), 'mine');
  await writeFile(join(root, 'README'), 'mine');
  const again = await startSyncNode({ root });
  t.teardown(() => again.close());
  t.same((await readdir(folder)).filter((name) => name !== 'uploads').sort(), before);
  t.same(await readdir(join(folder, 'uploads')), [stream], 'the age of an upload decides about it');
  t.same(
    await readdir(join(root, 'not-a-model')),
    ['notes.txt'],
    'a folder that holds no model is not touched',
  );
  t.equal(await readFile(join(root, 'README'), 'utf8'), 'mine');
  t.equal(await versionAt(again.url), 1);
  t.equal((await ask(again.url, 'HEAD', patchPath(stream))).status, 404);
});

t.test('a model can be created once and only under a valid id', async (t) => {
  const { root, training } = await setNode(t);
  await t.rejects(createModel(root, MODEL, training.pathOf(0)), {
    message: /model bert_tiny already exists/,
  });
  for (const id of ['', '..', 'a/b', 'AB', 'with-dash', 'a'.repeat(33)]) {
    await t.rejects(createModel(root, id, training.pathOf(0)), { message: /is not a model id/ }, id);
  }
});

t.test('a node keeps as many of the latest versions as told, with their patches', async (t) => {
  const { url, training, root } = await setNode(t, 61, { keep: 1 });
  for (let version = 0; version < 3; version++) {
    if (version === 1) await ask(url, 'POST', `/v1/models/${MODEL}/versions/1`);
    t.equal((await put(url, await training.patch(version, await training.train()))).status, 201);
  }
  const files = (await readdir(join(root, MODEL))).filter((name) => /^[0-9]/.test(name)).sort();
  t.same(files, ['1.patch', '1.safetensors', '3.patch', '3.safetensors']);
});
