/** The sync node over real HTTP: what it answers at each path, and that a model is only ever changed whole. */

import { once } from 'node:events';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { weightPatchType } from '../../gateway/patch/layout.ts';
import { createModel } from '../../gateway/sync-node/create-model.ts';
import { startSyncNode } from '../../gateway/sync-node/sync-node.ts';
import type { TensorPlan } from '../patch/random-model.ts';
import { answerOf, ask, begin, patchPath, put } from './asking.ts';
import { MODEL, Training } from './training.ts';

const plans: readonly TensorPlan[] = [
  ['embedding', 'F32', [40, 25]],
  ['layer.0.w', 'BF16', [300]],
  ['steps', 'I64', []],
];
const parameters = 1301;
const patchHeaders = { 'content-type': weightPatchType };

/** A node with one model at version 0. */
async function setNode(t: Test, seed = 60) {
  const folder = t.testdir({});
  const training = await Training.begin(folder, seed, plans);
  const root = join(folder, 'models');
  await createModel(root, MODEL, training.pathOf(0));
  const node = await startSyncNode({ root });
  t.teardown(() => node.close());
  return { root, training, node, url: node.url };
}

/** What the node says of the model. */
async function versionAt(url: string): Promise<unknown> {
  return (await ask(url, 'GET', `/v1/models/${MODEL}`)).json['version'];
}

/** Waits until the node says that so many bytes of an upload have come. */
async function uploaded(url: string, streamId: string, bytes: number): Promise<void> {
  for (;;) {
    const { headers } = await ask(url, 'HEAD', patchPath(streamId));
    if (Number(headers['upload-offset']) >= bytes) return;
    await delay(5);
  }
}

/** Waits until the node has noticed that the sender of a stream is gone. */
async function released(url: string, streamId: string): Promise<void> {
  for (;;) {
    const { status, json } = await ask(url, 'PUT', patchPath(streamId), { headers: patchHeaders });
    if (status !== 409) return;
    if (json['detail'] !== 'This stream is being sent already.')
      throw new Error('another 409', { cause: json });
    await delay(5);
  }
}

t.test('a patch makes the next version: 201, and the weights are the target to the bit', async (t) => {
  const { url, training } = await setNode(t);
  const patch = await training.patch(0, await training.train());
  const { status, headers, json } = await put(url, patch);
  t.equal(status, 201);
  t.equal(headers['content-type'], 'application/json');
  t.same(json, { model_id: MODEL, version: 1, changed: patch.changed, digest: patch.digest });
  const weights = await ask(url, 'GET', `/v1/models/${MODEL}/weights`);
  t.ok(weights.body.equals(await training.read(1)));
});

t.test('the same stream again is 200 with the same words, and changes nothing', async (t) => {
  const { url, training } = await setNode(t);
  const patch = await training.patch(0, await training.train());
  const first = await put(url, patch);
  const again = await put(url, patch);
  t.equal(again.status, 200);
  t.same(again.json, first.json);
  t.equal((await put(url, await training.patch(1, await training.train()))).status, 201);
  const late = await put(url, patch);
  t.equal(late.status, 200, 'after a later version too');
  t.same(late.json, first.json, 'as it was then');
  t.equal(await versionAt(url), 2);
});

t.test('a patch of a stale base is 409, and changes nothing', async (t) => {
  const { url, training } = await setNode(t);
  const [one, two] = [await training.train(), await training.train(0)];
  t.equal((await put(url, await training.patch(0, one))).status, 201);
  const stale = await put(url, await training.patch(0, two));
  t.equal(stale.status, 409);
  t.equal(stale.headers['content-type'], 'application/problem+json');
  t.match(stale.json, { status: 409, fault: 'base', frame: 0, offset: 0 });
  const disguised = await put(url, await training.patch(0, two, 1));
  t.match(disguised.json, { status: 409, fault: 'base' }, 'the right version over other weights');
  t.equal(await versionAt(url), 1);
});

t.test('of two patches at the same time on one base one is 201 and one is 409', async (t) => {
  const { url, training } = await setNode(t);
  let from = 0;
  for (let version = 0; version < 5; version++) {
    const [one, two] = [await training.train(from), await training.train(from)];
    const patches = [await training.patch(from, one, version), await training.patch(from, two, version)];
    const answers = await Promise.all(patches.map((patch) => put(url, patch)));
    t.same(answers.map(({ status }) => status).sort(), [201, 409]);
    from = answers[0]?.status === 201 ? one : two;
    const weights = await ask(url, 'GET', `/v1/models/${MODEL}/weights`);
    t.ok(
      weights.body.equals(await training.read(from)),
      'the weights are those of the one that was told 201',
    );
  }
});

t.test('a stream that is being sent already is 409, and the first sender is not disturbed', async (t) => {
  const { url, training } = await setNode(t);
  const patch = await training.patch(0, await training.train());
  const first = begin(url, 'PUT', patchPath(patch.streamId), patchHeaders);
  first.write(patch.bytes.subarray(0, 500));
  await uploaded(url, patch.streamId, 500);
  const second = await put(url, patch);
  t.equal(second.status, 409);
  t.match(second.json, { detail: 'This stream is being sent already.' });
  first.end(patch.bytes.subarray(500));
  t.equal((await answerOf(first)).status, 201);
});

t.test(
  'a caller that goes away half-way leaves the model whole, and HEAD tells how much has come',
  async (t) => {
    const { url, training } = await setNode(t);
    const patch = await training.patch(0, await training.train());
    const cuts = [1, 151, 152, 700, patch.bytes.length - 120, patch.bytes.length - 1];
    for (const cut of cuts) {
      const sent = begin(url, 'PUT', patchPath(patch.streamId), {
        ...patchHeaders,
        'content-length': String(patch.bytes.length),
      });
      sent.on('error', () => undefined);
      sent.write(patch.bytes.subarray(0, cut));
      await uploaded(url, patch.streamId, cut);
      sent.destroy();
      const head = await ask(url, 'HEAD', patchPath(patch.streamId));
      t.equal(head.status, 204);
      t.equal(head.headers['upload-offset'], String(cut));
      t.equal(head.headers['content-length'], undefined, 'an answer without content has no length');
      t.equal(await versionAt(url), 0);
      await released(url, patch.streamId);
    }
    t.equal((await put(url, patch)).status, 201, 'sent again in whole it is applied');
    t.equal((await ask(url, 'HEAD', patchPath(patch.streamId))).status, 404, 'and no upload is left');
  },
);

t.test('a body that ends early but cleanly is 422, and nothing of it stays', async (t) => {
  const { url, training, root } = await setNode(t);
  const patch = await training.patch(0, await training.train());
  for (const length of [0, 1, 152, 700, patch.bytes.length - 1]) {
    const answer = await put(url, { ...patch, bytes: patch.bytes.subarray(0, length) });
    t.match(answer, { status: 422, json: { fault: 'truncated' } }, `${length} bytes`);
  }
  t.equal(await versionAt(url), 0);
  t.same((await readdir(join(root, MODEL))).sort(), ['0.safetensors', 'state.json', 'uploads']);
  t.same(await readdir(join(root, MODEL, 'uploads')), []);
});

t.test('a spoiled stream is refused with the fault of its frame', async (t) => {
  const { url, training } = await setNode(t);
  const patch = await training.patch(0, await training.train());
  const spoil = (at: number) => {
    const bytes = Buffer.from(patch.bytes);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    return put(url, { ...patch, bytes });
  };
  t.match(await spoil(0), { status: 400, json: { fault: 'magic', frame: 0, offset: 0 } });
  t.match(await spoil(40), { status: 400, json: { fault: 'header-crc', frame: 0 } });
  t.match(await spoil(patch.bytes.length - 121), { status: 422, json: { fault: 'payload-crc' } });
  t.match(await put(url, { ...patch, bytes: Buffer.concat([patch.bytes, Buffer.alloc(1)]) }), {
    status: 422,
    json: { fault: 'trailing' },
  });
  t.equal(await versionAt(url), 0);
});

t.test('a stream that is not the one of its address, or leads nowhere, is 400', async (t) => {
  const { url, training } = await setNode(t);
  const weights = await training.train();
  const patch = await training.patch(0, weights);
  const other = { ...patch, streamId: '0'.repeat(32) };
  t.match(await put(url, other), { status: 400, json: { detail: /another stream/ } });
  t.match(await put(url, await training.patch(0, weights, 0, 0)), {
    status: 400,
    json: { detail: /not later/ },
  });
  t.equal(await versionAt(url), 0);
});

t.test('a patch for another model is 403', async (t) => {
  const { url, training, root } = await setNode(t);
  await createModel(root, 'bert_large', training.pathOf(0));
  const patch = await training.patch(0, await training.train());
  const path = patchPath(patch.streamId, 'bert_large');
  const answer = await ask(url, 'PUT', path, { headers: patchHeaders, body: patch.bytes });
  t.match(answer, { status: 403, json: { fault: 'model' } });
});

t.test('the description of a model names its version, digest, parameters and tensors', async (t) => {
  const { url, training } = await setNode(t);
  const patch = await training.patch(0, await training.train());
  await put(url, patch);
  const { status, json } = await ask(url, 'GET', `/v1/models/${MODEL}`);
  t.equal(status, 200);
  t.same(json, {
    model_id: MODEL,
    version: 1,
    digest: patch.digest,
    parameters,
    published: [],
    tensors: plans.map(([name, dtype, shape]) => ({ name, dtype, shape })),
  });
  const head = await ask(url, 'HEAD', `/v1/models/${MODEL}`);
  t.equal(head.status, 200);
  t.equal(head.body.length, 0);
});

t.test('weights come whole or in the range that was asked for', async (t) => {
  const { url, training } = await setNode(t);
  const file = await training.read(0);
  const size = file.length;
  const cases: readonly (readonly [range: string, from: number, to: number])[] = [
    ['bytes=0-0', 0, 1],
    ['bytes=0-99', 0, 100],
    ['bytes=100-', 100, size],
    ['bytes=-10', size - 10, size],
    [`bytes=-${size * 2}`, 0, size],
    [`bytes=${size - 1}-${size * 2}`, size - 1, size],
  ];
  for (const [range, from, to] of cases) {
    const { status, headers, body } = await ask(url, 'GET', `/v1/models/${MODEL}/weights`, {
      headers: { range },
    });
    t.equal(status, 206, range);
    t.equal(headers['content-range'], `bytes ${from}-${to - 1}/${size}`);
    t.ok(body.equals(file.subarray(from, to)));
  }
  for (const range of [`bytes=${size}-`, 'bytes=-0', `bytes=${size}-${size + 5}`]) {
    const { status, headers } = await ask(url, 'GET', `/v1/models/${MODEL}/weights`, { headers: { range } });
    t.equal(status, 416, range);
    t.equal(headers['content-type'], 'application/problem+json');
    t.equal(headers['content-range'], `bytes */${size}`);
  }
  for (const range of ['bytes=0-1,3-4', 'bytes=-', 'bytes=a-b', 'lines=1-2', 'bytes=1']) {
    const { status, body } = await ask(url, 'GET', `/v1/models/${MODEL}/weights`, { headers: { range } });
    t.equal(status, 200, range);
    t.ok(body.equals(file));
  }
});

t.test('HEAD of weights tells their size, whatever range was asked for', async (t) => {
  const { url, training } = await setNode(t);
  const headers = { range: 'bytes=0-99' };
  const head = await ask(url, 'HEAD', `/v1/models/${MODEL}/weights`, { headers });
  t.equal(head.status, 200);
  t.equal(head.headers['content-length'], String((await training.read(0)).length));
  t.equal(head.headers['accept-ranges'], 'bytes');
  t.equal(head.body.length, 0);
});

t.test('a range of a version that is gone is answered with the whole of the new one', async (t) => {
  const { url, training } = await setNode(t);
  const path = `/v1/models/${MODEL}/weights`;
  const etag = String((await ask(url, 'HEAD', path)).headers.etag);
  const headers = { range: 'bytes=100-', 'if-range': etag };
  t.equal((await ask(url, 'GET', path, { headers })).status, 206, 'while it is still there');
  await put(url, await training.patch(0, await training.train()));
  const { status, body, headers: fields } = await ask(url, 'GET', path, { headers });
  t.equal(status, 200);
  t.not(fields.etag, etag);
  t.ok(body.equals(await training.read(1)));
});

t.test('a published version stays, others go when three newer ones are there', async (t) => {
  const { url, training, root } = await setNode(t);
  for (let version = 0; version < 6; version++) {
    if (version === 1) {
      const { status, json } = await ask(url, 'POST', `/v1/models/${MODEL}/versions/1`);
      t.equal(status, 200);
      t.same(json, { model_id: MODEL, version: 1, published: true });
      t.equal((await ask(url, 'POST', `/v1/models/${MODEL}/versions/1`)).status, 200, 'twice is once');
    }
    t.equal((await put(url, await training.patch(version, await training.train()))).status, 201);
  }
  const files = (await readdir(join(root, MODEL))).filter((name) => name.endsWith('.safetensors')).sort();
  t.same(files, ['1.safetensors', '4.safetensors', '5.safetensors', '6.safetensors']);
  t.ok((await readFile(join(root, MODEL, '1.safetensors'))).equals(await training.read(1)));
  t.same((await ask(url, 'GET', `/v1/models/${MODEL}`)).json['published'], [1]);
  t.equal((await ask(url, 'POST', `/v1/models/${MODEL}/versions/3`)).status, 404, 'gone');
  t.equal((await ask(url, 'POST', `/v1/models/${MODEL}/versions/7`)).status, 404, 'not there yet');
});

t.test('a version that leaps ahead does not push the ones before it out', async (t) => {
  const { url, training, root } = await setNode(t);
  await put(url, await training.patch(0, await training.train()));
  const leap = await put(url, await training.patch(1, await training.train(), 1, 1000));
  t.match(leap.json, { version: 1000 });
  const files = (await readdir(join(root, MODEL))).filter((name) => name.endsWith('.safetensors'));
  t.same(files.sort(), ['0.safetensors', '1.safetensors', '1000.safetensors']);
});

t.test('the node says that it is well', async (t) => {
  const { url } = await setNode(t);
  const { status, body } = await ask(url, 'GET', '/healthz');
  t.equal(status, 200);
  t.equal(body.toString(), 'ok\n');
  t.equal((await ask(url, 'GET', '/healthz?verbose')).status, 200);
  t.equal((await ask(url, 'HEAD', '/healthz')).status, 200);
});

const stream = 'a'.repeat(32);
const refusals: readonly (readonly [method: string, path: string, status: number])[] = [
  ['GET', '/', 404],
  ['GET', '/v1', 404],
  ['GET', '/v1/models', 404],
  ['GET', '/v1/models/', 404],
  ['GET', '/healthz/', 404],
  ['GET', `/v1/models/${MODEL}/`, 404],
  ['GET', `/v1/models/${MODEL}/state.json`, 404],
  ['GET', `/v1/models/${MODEL}/weights/`, 404],
  ['GET', `/v2/models/${MODEL}`, 404],
  ['GET', `//v1/models/${MODEL}`, 404],
  ['GET', `/v1/models/../models/${MODEL}`, 404],
  ['GET', '/v1/models/unknown_model', 404],
  ['GET', '/v1/models/ab', 404],
  ['GET', `/v1/models/${'a'.repeat(33)}`, 404],
  ['GET', '/v1/models/Bert_tiny', 404],
  ['GET', '/v1/models/bert-tiny', 404],
  ['GET', `/v1/models/%62ert_tiny`, 404],
  ['GET', `/v1/models/${MODEL}%00`, 404],
  ['GET', '/v1/models/..%2f', 404],
  ['GET', `/v1/models/..%2fmodels%2f${MODEL}`, 404],
  ['GET', `/v1/models/%2e%2e%2fmodels%2f${MODEL}/weights`, 404],
  ['GET', '/v1/models/../weights', 404],
  ['GET', '/v1/models/.../weights', 404],
  ['GET', '/v1/models/..\\..\\etc/weights', 404],
  ['GET', '/v1/models/__proto__', 404],
  ['GET', '/v1/models/constructor', 404],
  ['PUT', `/v1/models/unknown_model/patches/${stream}`, 404],
  ['PUT', `/v1/models/..%2f/patches/${stream}`, 404],
  ['PUT', `/v1/models/${MODEL}/patches/`, 404],
  ['PUT', `/v1/models/${MODEL}/patches/${stream}/x`, 404],
  ['PUT', `/v1/models/${MODEL}/patches/${'a'.repeat(31)}`, 400],
  ['PUT', `/v1/models/${MODEL}/patches/${'a'.repeat(33)}`, 400],
  ['PUT', `/v1/models/${MODEL}/patches/${'A'.repeat(32)}`, 400],
  ['PUT', `/v1/models/${MODEL}/patches/..%2f..%2fstate.json`, 400],
  ['PUT', `/v1/models/${MODEL}/patches/..`, 400],
  ['PUT', `/v1/models/${MODEL}/patches/__proto__`, 400],
  ['PUT', `/v1/models/${MODEL}/patches/${stream}`, 415],
  ['HEAD', `/v1/models/${MODEL}/patches/${stream}`, 404],
  ['HEAD', `/v1/models/${MODEL}/patches/..`, 404],
  ['HEAD', `/v1/models/unknown_model/patches/${stream}`, 404],
  ['POST', `/v1/models/${MODEL}/versions/1`, 404],
  ['POST', `/v1/models/${MODEL}/versions/-1`, 404],
  ['POST', `/v1/models/${MODEL}/versions/00`, 404],
  ['POST', `/v1/models/${MODEL}/versions/0x0`, 404],
  ['POST', `/v1/models/${MODEL}/versions/latest`, 404],
  ['POST', `/v1/models/${MODEL}/versions/${'9'.repeat(400)}`, 404],
  ['POST', '/v1/models/unknown_model/versions/0', 404],
  ['DELETE', `/v1/models/${MODEL}`, 405],
  ['PUT', `/v1/models/${MODEL}`, 405],
  ['POST', `/v1/models/${MODEL}/weights`, 405],
  ['GET', `/v1/models/${MODEL}/versions/0`, 405],
  ['GET', `/v1/models/${MODEL}/patches/${stream}`, 405],
  ['POST', `/v1/models/${MODEL}/patches/${stream}`, 405],
  ['POST', '/healthz', 405],
];

t.test('what is not there is 404, a method it does not take 405, an id that is none 400', async (t) => {
  const { url, root } = await setNode(t);
  const before = await readdir(root, { recursive: true });
  for (const [method, path, status] of refusals) {
    const body = method === 'GET' || method === 'HEAD' ? {} : { body: Buffer.from('{}') };
    const answer = await ask(url, method, path, body);
    t.equal(answer.status, status, `${method} ${path}`);
    if (method === 'HEAD') continue;
    t.equal(answer.headers['content-type'], 'application/problem+json');
    t.equal(answer.json['status'], status);
    if (status === 405) t.match(answer.headers.allow, /^[A-Z]+(, [A-Z]+)*$/);
  }
  t.same(await readdir(root, { recursive: true }), before, 'nothing was made on disk');
});

t.test('405 names the methods that the path takes', async (t) => {
  const { url } = await setNode(t);
  t.equal((await ask(url, 'GET', patchPath(stream))).headers.allow, 'PUT, HEAD');
  t.equal((await ask(url, 'POST', `/v1/models/${MODEL}`)).headers.allow, 'GET, HEAD');
});

t.test('only a weight patch is taken: anything else is 415', async (t) => {
  const { url, training } = await setNode(t);
  const patch = await training.patch(0, await training.train());
  for (const type of ['application/octet-stream', 'text/plain', `${weightPatchType}x`, '']) {
    const answer = await ask(url, 'PUT', patchPath(patch.streamId), {
      headers: { 'content-type': type },
      body: patch.bytes,
    });
    t.equal(answer.status, 415, type);
  }
  t.equal(await versionAt(url), 0);
});

t.test('a refusal is heard by a caller that is still sending', async (t) => {
  const { url } = await setNode(t);
  for (let round = 0; round < 5; round++) {
    const sent = begin(url, 'PUT', patchPath('not-a-stream'), patchHeaders);
    const answered = answerOf(sent);
    const block = Buffer.alloc(1024 * 1024);
    for (let k = 0; k < 8; k++) sent.write(block);
    t.equal((await answered).status, 400);
    sent.destroy();
  }
});

t.test('a node that starts again on the same folder goes on where it was', async (t) => {
  const { url, training, root, node } = await setNode(t);
  const patch = await training.patch(0, await training.train());
  await put(url, patch);
  await node.close();
  const again = await startSyncNode({ root });
  t.teardown(() => again.close());
  t.match((await ask(again.url, 'GET', `/v1/models/${MODEL}`)).json, { version: 1, digest: patch.digest });
  t.equal((await put(again.url, patch)).status, 200, 'and knows the streams it has had');
  t.equal((await put(again.url, await training.patch(1, await training.train()))).status, 201);
});

t.test('what a crash left behind is swept at the start, and nothing else', async (t) => {
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
  t.same((await readdir(folder)).sort(), before);
  t.same(
    await readdir(join(root, 'not-a-model')),
    ['notes.txt'],
    'a folder that holds no model is not touched',
  );
  t.equal(await readFile(join(root, 'README'), 'utf8'), 'mine');
  t.equal(await versionAt(again.url), 1);
  t.equal((await ask(again.url, 'HEAD', patchPath(stream))).status, 404);
});

t.test('a model is put there once, under an id that is one', async (t) => {
  const { root, training } = await setNode(t);
  await t.rejects(createModel(root, MODEL, training.pathOf(0)), {
    message: /there is a model bert_tiny already/,
  });
  for (const id of ['', '..', 'a/b', 'AB', 'with-dash', 'a'.repeat(33)]) {
    await t.rejects(createModel(root, id, training.pathOf(0)), { message: /is no model id/ }, id);
  }
});

t.test('a node that closes lets go of callers that are still sending', async (t) => {
  const { url, node, training } = await setNode(t);
  const patch = await training.patch(0, await training.train());
  const sent = begin(url, 'PUT', patchPath(patch.streamId), patchHeaders);
  const broken = once(sent, 'error');
  sent.write(patch.bytes.subarray(0, 500));
  await uploaded(url, patch.streamId, 500);
  await node.close();
  t.ok(await broken);
});
