/** A stream turns a model into its next version, or changes nothing. */

import { mkdir, readdir, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { createModel } from '../../gateway/sync-node/create-model.ts';
import { startSyncNode } from '../../gateway/sync-node/sync-node.ts';
import { answerOf, ask, begin, patchPath, put } from './asking.ts';
import { gathered, patchHeaders, setNode, versionAt } from './set-node.ts';
import { MODEL } from './training.ts';

t.test('a patch makes the next version, with weights equal to the target bit for bit', async (t) => {
  const { url, training } = await setNode(t);
  const patch = await training.patch(0, await training.train());
  const { status, headers, json } = await put(url, patch);
  t.equal(status, 201);
  t.equal(headers['content-type'], 'application/json');
  t.same(json, { model_id: MODEL, version: 1, changed: patch.changed, digest: patch.digest });
  const weights = await ask(url, 'GET', `/v1/models/${MODEL}/weights`);
  t.ok(weights.body.equals(await training.read(1)));
});

t.test('the same stream again gives 200 with the same answer and changes nothing', async (t) => {
  const { url, training } = await setNode(t);
  const patch = await training.patch(0, await training.train());
  const first = await put(url, patch);
  const again = await put(url, patch);
  t.equal(again.status, 200);
  t.same(again.json, first.json);
  t.equal((await put(url, await training.patch(1, await training.train()))).status, 201);
  const late = await put(url, patch);
  t.equal(late.status, 200, 'it is a 200 after a later version too');
  t.same(late.json, first.json, 'the answer is that of the first time');
  t.equal(await versionAt(url), 2);
});

t.test('a patch of a stale base gives 409 and changes nothing', async (t) => {
  const { url, training } = await setNode(t);
  const [one, two] = [await training.train(), await training.train(0)];
  t.equal((await put(url, await training.patch(0, one))).status, 201);
  const stale = await put(url, await training.patch(0, two));
  t.equal(stale.status, 409);
  t.equal(stale.headers['content-type'], 'application/problem+json');
  t.match(stale.json, { status: 409, fault: 'base', frame: 0, offset: 0 });
  const disguised = await put(url, await training.patch(0, two, 1));
  t.match(disguised.json, { status: 409, fault: 'base' }, 'the right version over other weights is refused');
  t.equal(await versionAt(url), 1);
});

t.test('of two simultaneous patches on one base one gives 201 and the other 409', async (t) => {
  const { url, training } = await setNode(t);
  let from = 0;
  for (let version = 0; version < 5; version++) {
    const [one, two] = [await training.train(from), await training.train(from)];
    const patches = [await training.patch(from, one, version), await training.patch(from, two, version)];
    const answers = await Promise.all(patches.map((patch) => put(url, patch)));
    t.same(answers.map(({ status }) => status).sort(), [201, 409]);
    from = answers[0]?.status === 201 ? one : two;
    const weights = await ask(url, 'GET', `/v1/models/${MODEL}/weights`);
    t.ok(weights.body.equals(await training.read(from)), 'the weights are those of the patch that got 201');
  }
});

t.test('a body that ends early but cleanly gives 422, and nothing of it stays', async (t) => {
  const { url, training, root } = await setNode(t);
  const patch = await training.patch(0, await training.train());
  for (const length of [0, 1, 152, 700, patch.bytes.length - 1]) {
    const answer = await put(url, { ...patch, bytes: patch.bytes.subarray(0, length) });
    t.match(answer, { status: 422, json: { fault: 'truncated' } }, `${length} bytes are truncated`);
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
  t.match(await spoil(patch.bytes.length - 128), { status: 422, json: { fault: 'payload-crc' } });
  t.match(await put(url, { ...patch, bytes: Buffer.concat([patch.bytes, Buffer.alloc(1)]) }), {
    status: 422,
    json: { fault: 'trailing' },
  });
  t.equal(await versionAt(url), 0);
});

t.test('a stream that does not match its address or leads nowhere gives 400', async (t) => {
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

t.test('a patch for another model gives 403', async (t) => {
  const { url, training, root } = await setNode(t);
  await createModel(root, 'bert_large', training.pathOf(0));
  const patch = await training.patch(0, await training.train());
  const path = patchPath(patch.streamId, 'bert_large');
  const answer = await ask(url, 'PUT', path, { headers: patchHeaders, body: patch.bytes });
  t.match(answer, { status: 403, json: { fault: 'model' } });
});

t.test('a stale base is refused as soon as OPEN arrives, with what the node has', async (t) => {
  const { url, training } = await setNode(t);
  const [one, two] = [await training.train(), await training.train(0)];
  const first = await training.patch(0, one);
  await put(url, first);
  const stale = await training.patch(0, two);
  const sent = begin(url, 'PUT', patchPath(stale.streamId), patchHeaders);
  sent.on('error', () => undefined);
  sent.write(stale.bytes.subarray(0, 400));
  const { status, json } = await answerOf(sent);
  t.equal(status, 409, 'the answer comes though the body has not ended');
  t.match(json, { fault: 'base', version: 1, digest: first.digest });
  sent.destroy();
});

t.test('another stream with an id that was applied gives 409 and is not a repetition', async (t) => {
  const { url, training } = await setNode(t);
  const patch = await training.patch(0, await training.train());
  await put(url, patch);
  const other = await training.patch(0, await training.train(0), 0, 1, Buffer.from(patch.streamId, 'hex'));
  t.equal(other.streamId, patch.streamId);
  t.match(await put(url, other), { status: 409, json: { detail: /Another stream with this id/ } });
  t.match(await put(url, { ...patch, bytes: Buffer.from('not a stream') }), { json: { fault: 'magic' } });
  t.equal(await versionAt(url), 1);
});

t.test('streams for different models do not wait for each other', async (t) => {
  const { url, root, training } = await setNode(t);
  await createModel(root, 'bert_large', training.pathOf(0));
  const patch = await training.patch(0, await training.train());
  const slow = begin(url, 'PUT', patchPath(patch.streamId), patchHeaders);
  slow.write(patch.bytes.subarray(0, 700));
  await gathered(root, patch.streamId, 152);
  const other = await training.patch(0, 1, 0, 1, undefined, 'bert_large');
  const path = patchPath(other.streamId, 'bert_large');
  t.equal((await ask(url, 'PUT', path, { headers: patchHeaders, body: other.bytes })).status, 201);
  slow.end(patch.bytes.subarray(700));
  t.equal((await answerOf(slow)).status, 201);
});

t.test('a node that fails at the commit says so, and the model stays as it was', async (t) => {
  const { url, root, training } = await setNode(t);
  const patch = await training.patch(0, await training.train());
  const blocked = join(root, MODEL, 'state.json.new');
  await mkdir(blocked);
  t.match(await put(url, patch), { status: 500, json: { detail: 'The node failed.' } });
  t.match(await ask(url, 'GET', `/v1/models/${MODEL}`), { json: { version: 0 } });
  const left = (await readdir(join(root, MODEL))).filter((name) => name !== 'uploads');
  t.same(left.sort(), ['0.safetensors', 'state.json'], 'the half-made version is gone');
  const head = await ask(url, 'HEAD', patchPath(patch.streamId));
  t.equal(head.headers['upload-offset'], String(patch.bytes.length - 120), 'the sent bytes are kept');
  t.equal((await put(url, patch)).status, 201, 'the push works once the reason is gone');
});

t.test('a series of pushes to one model makes its versions one after another', async (t) => {
  const { training, root, node } = await setNode(t);
  await node.close();
  const again = await startSyncNode({ root });
  t.teardown(() => again.close());
  const patches = [];
  for (let version = 0; version < 4; version++) {
    patches.push(await training.patch(version, await training.train()));
  }
  const statuses = [];
  for (const patch of patches) statuses.push((await put(again.url, patch)).status);
  t.same(statuses, [201, 201, 201, 201]);
  const repeated = await Promise.all(patches.map((patch) => put(again.url, patch)));
  t.same(
    repeated.map(({ status, json }) => [status, json['version']]),
    [
      [200, 1],
      [200, 2],
      [200, 3],
      [200, 4],
    ],
  );
});

t.test('a full disk gives 507 at the beginning or the commit, and the model stays', async (t) => {
  const { url, root, training } = await setNode(t);
  const patch = await training.patch(0, await training.train());
  const uploads = join(root, MODEL, 'uploads');
  const places = [join(uploads, `${patch.streamId}.json.new`), join(root, MODEL, 'state.json.new')];
  for (const [k, place] of places.entries()) {
    // Writing to this device fails as on a full disk.
    await symlink('/dev/full', place);
    t.match(await put(url, patch), { status: 507, json: { detail: /no room/ } });
    t.equal(await versionAt(url), 0);
    const weights = await ask(url, 'GET', `/v1/models/${MODEL}/weights`);
    t.ok(weights.body.equals(await training.read(0)), 'the weights are equal bit for bit');
    await rm(place, { force: true });
    if (k === 0) continue;
    const head = await ask(url, 'HEAD', patchPath(patch.streamId));
    t.equal(head.headers['upload-offset'], String(patch.bytes.length - 120), 'the sent bytes are kept');
  }
  t.equal((await put(url, patch)).status, 201, 'the push works once there is room');
});
