/** A cut upload resumes at the last whole frame, only for the one who began it, and only as the same stream. */

import { once } from 'node:events';
import { appendFile, readdir, stat, truncate, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { startSyncNode } from '../../gateway/sync-node/sync-node.ts';
import { type Answer, answerOf, ask, begin, patchPath, put } from './asking.ts';
import {
  frameStarts,
  gathered,
  goneAway,
  patchHeaders,
  prologueAt,
  sendPart,
  setNode,
  uploadPath,
  versionAt,
  wholeFrames,
} from './set-node.ts';
import { type MadePatch, MODEL } from './training.ts';

type Fields = Readonly<Record<string, string>>;

function head(url: string, { streamId }: MadePatch, headers: Fields = {}): Promise<Answer> {
  return ask(url, 'HEAD', patchPath(streamId), { headers });
}

/** Sends the rest of a stream in the regular way. */
function goOn(
  url: string,
  { streamId, bytes }: MadePatch,
  offset: number,
  headers: Fields = {},
  method = 'PATCH',
) {
  const body = Buffer.concat([prologueAt(bytes, offset), bytes.subarray(offset)]);
  const fields = { ...patchHeaders, 'upload-offset': String(offset), 'upload-complete': '?1', ...headers };
  return ask(url, method, patchPath(streamId), { headers: fields, body });
}

t.test('a stream cut at any byte resumes at the last whole frame', async (t) => {
  const node = await setNode(t);
  const { url, training, root } = node;
  let version = 0;
  const first = await training.patch(0, await training.train());
  const everywhere = Array.from({ length: first.bytes.length - 1 }, (_, k) => k + 1);
  const cuts = [...frameStarts(first.bytes).slice(1), ...everywhere.filter((_, k) => k % 83 === 0)];
  for (const cut of cuts) {
    const patch = version === 0 ? first : await training.patch(version, await training.train());
    const at = Math.min(cut, patch.bytes.length - 1);
    const whole = wholeFrames(patch.bytes, at);
    await sendPart(node, patch, at);
    const told = await head(url, patch);
    t.equal(told.status, 204);
    t.match(told.headers, {
      'upload-offset': String(whole),
      'upload-complete': '?0',
      'upload-length': String(patch.bytes.length),
      'upload-limit': 'max-age=86400',
      'cache-control': 'no-store',
    });
    t.equal(told.headers['content-length'], undefined, 'an answer without content has no length');
    t.equal(await versionAt(url), version, 'nothing is applied before END');
    const { status, json, headers } = await goOn(url, patch, whole, {}, version % 2 === 0 ? 'PATCH' : 'PUT');
    t.equal(status, 201, `the stream cut at ${at} resumes`);
    t.equal(headers['upload-complete'], '?1');
    version += 1;
    t.same(json, { model_id: MODEL, version, changed: patch.changed, digest: patch.digest });
    const done = await head(url, patch);
    t.match(done.headers, { 'upload-offset': String(patch.bytes.length), 'upload-complete': '?1' });
  }
  t.ok((await ask(url, 'GET', `/v1/models/${MODEL}/weights`)).body.equals(await training.read(version)));
  t.same(await readdir(join(root, MODEL, 'uploads')), [], 'nothing is left of the uploads');
});

t.test('a stream that is cut again and again arrives frame by frame', async (t) => {
  const node = await setNode(t);
  const { url, root, training } = node;
  const patch = await training.patch(0, await training.train());
  const [, ...starts] = frameStarts(patch.bytes);
  await sendPart(node, patch, starts[0] ?? 0);
  for (const [k, start] of starts.slice(0, -1).entries()) {
    const body = Buffer.concat([prologueAt(patch.bytes, start), patch.bytes.subarray(start, starts[k + 1])]);
    const headers = { ...patchHeaders, 'upload-offset': String(start) };
    const sent = begin(url, 'PATCH', patchPath(patch.streamId), headers);
    sent.on('error', () => undefined);
    sent.write(body);
    await gathered(root, patch.streamId, starts[k + 1] ?? 0);
    await goneAway(sent);
  }
  const last = starts.at(-1) ?? 0;
  t.equal((await head(url, patch)).headers['upload-offset'], String(last));
  t.equal((await goOn(url, patch, last)).status, 201);
});

t.test('an upload survives a restart of the node, without its torn last frame', async (t) => {
  const { url, root, training, node } = await setNode(t);
  const patch = await training.patch(0, await training.train());
  const cut = patch.bytes.length - 125;
  await sendPart({ url, root }, patch, cut);
  await head(url, patch);
  await node.close();
  const path = uploadPath(root, patch.streamId);
  const whole = wholeFrames(patch.bytes, cut);
  t.equal((await stat(path)).size, whole);
  await appendFile(path, patch.bytes.subarray(whole, whole + 60));
  const again = await startSyncNode({ root });
  t.teardown(() => again.close());
  t.equal((await head(again.url, patch)).headers['upload-offset'], String(whole));
  t.equal((await stat(path)).size, whole);
  t.equal((await goOn(again.url, patch, whole)).status, 201);
});

t.test('lost or spoiled bytes on disk are noticed and sent again', async (t) => {
  const node = await setNode(t);
  const { url, root, training } = node;
  const patch = await training.patch(0, await training.train());
  const starts = frameStarts(patch.bytes);
  const last = starts.at(-1) ?? 0;
  await sendPart(node, patch, last);
  await head(url, patch);
  const path = uploadPath(root, patch.streamId);
  const before = starts.at(-2) ?? 0;
  await truncate(path, before + 75);
  await appendFile(path, Buffer.alloc(last - before - 75));
  t.equal((await head(url, patch)).headers['upload-offset'], String(before));
  t.match(await goOn(url, patch, last), {
    status: 409,
    headers: { 'upload-offset': String(before) },
    json: { type: /mismatching-upload-offset$/, 'expected-offset': before, 'provided-offset': last },
  });
  t.equal((await goOn(url, patch, before)).status, 201);
});

t.test('an applied stream is reported as complete, and repeating its end gives 200', async (t) => {
  const { url, training } = await setNode(t);
  const patch = await training.patch(0, await training.train());
  const made = await put(url, patch);
  const again = await goOn(url, patch, patch.bytes.length - 120);
  t.equal(again.status, 200);
  t.same(again.json, made.json);
  const other = { ...patch, bytes: Buffer.from(patch.bytes) };
  other.bytes[patch.bytes.length - 1] = 0;
  t.equal((await goOn(url, other, patch.bytes.length - 120)).status, 400, 'a spoiled end is refused');
  t.equal(await versionAt(url), 1);
});

const alice = { 'patchgate-tenant': 'a', 'patchgate-subject': 'alice' };
const bob = { 'patchgate-tenant': 'a', 'patchgate-subject': 'bob' };
const namesake = { 'patchgate-tenant': 'b', 'patchgate-subject': 'alice' };

t.test('only the one who began an upload may ask for it and resume it', async (t) => {
  const node = await setNode(t);
  const { url, training } = node;
  const patch = await training.patch(0, await training.train());
  const [, cut = 0] = frameStarts(patch.bytes);
  await sendPart(node, patch, cut, alice);
  await head(url, patch, alice);
  for (const other of [bob, namesake, {}]) {
    t.equal((await head(url, patch, other)).status, 403);
    t.equal((await goOn(url, patch, cut, other)).status, 403);
  }
  t.equal((await goOn(url, patch, cut, { ...alice, 'patchgate-model': 'other_model' })).status, 403);
  t.equal(
    (await head(url, patch, alice)).headers['upload-offset'],
    String(cut),
    'the upload is not affected',
  );
  t.equal((await goOn(url, patch, cut, { ...alice, 'patchgate-model': MODEL })).status, 201);
});

t.test('during an upload others are refused, and the same caller may come back', async (t) => {
  const { url, root, training } = await setNode(t);
  const patch = await training.patch(0, await training.train());
  const [, first = 0, second = 0] = frameStarts(patch.bytes);
  const sent = begin(url, 'PUT', patchPath(patch.streamId), { ...patchHeaders, ...alice });
  const broken = once(sent, 'error');
  sent.write(patch.bytes.subarray(0, second + 10));
  await gathered(root, patch.streamId, second);
  const headers = { ...patchHeaders, ...bob };
  const other = await ask(url, 'PUT', patchPath(patch.streamId), { headers, body: patch.bytes });
  t.match(other, { status: 409, json: { detail: /Somebody else is sending/ } });
  t.equal((await head(url, patch, bob)).status, 403);
  t.notOk(sent.destroyed, 'the first connection is not disturbed');
  t.equal((await head(url, patch, alice)).headers['upload-offset'], String(second));
  t.ok(await broken, 'its old connection is closed before the offset is told');
  t.equal((await goOn(url, patch, first, alice)).status, 409, 'the offset does not go back');
  t.equal((await goOn(url, patch, second, alice)).status, 201);
});

t.test('sending the whole stream again begins the upload anew', async (t) => {
  const node = await setNode(t);
  const { url, training } = node;
  const patch = await training.patch(0, await training.train());
  await sendPart(node, patch, 700, alice);
  await head(url, patch, alice);
  const headers = { ...patchHeaders, ...bob };
  t.equal((await ask(url, 'PUT', patchPath(patch.streamId), { headers, body: patch.bytes })).status, 201);
});

t.test('the rest of another stream, or of none, is refused and spoils nothing', async (t) => {
  const node = await setNode(t);
  const { url, training } = node;
  const patch = await training.patch(0, await training.train());
  const other = await training.patch(0, await training.train(0), 0, 1, Buffer.from(patch.streamId, 'hex'));
  const starts = frameStarts(patch.bytes);
  const cut = starts[4] ?? 0;
  await sendPart(node, patch, cut);
  const refused: readonly (readonly [string, Buffer])[] = [
    ['of another OPEN', Buffer.concat([prologueAt(other.bytes, cut), patch.bytes.subarray(cut)])],
    ['without its prologue', patch.bytes.subarray(cut)],
    ['from the beginning', patch.bytes],
    ['of nothing', Buffer.alloc(0)],
    ['of a part of the prologue', prologueAt(patch.bytes, cut).subarray(0, 100)],
  ];
  for (const [title, body] of refused) {
    const headers = { ...patchHeaders, 'upload-offset': String(cut), 'transfer-encoding': 'chunked' };
    const sent = begin(url, 'PATCH', patchPath(patch.streamId), headers);
    sent.end(body);
    t.match(
      await answerOf(sent),
      { status: 409, json: { detail: /OPEN and TENSOR/ } },
      `the rest ${title} is refused`,
    );
    t.equal((await head(url, patch)).headers['upload-offset'], String(cut));
  }
  const long = { 'content-length': String(patch.bytes.length) };
  const inconsistent = begin(url, 'PATCH', patchPath(patch.streamId), {
    ...patchHeaders,
    'upload-offset': String(cut),
    ...long,
  });
  inconsistent.on('error', () => undefined);
  inconsistent.flushHeaders();
  t.match(await answerOf(inconsistent), { status: 400, json: { type: /inconsistent-upload-length$/ } });
  inconsistent.destroy();
  t.equal((await goOn(url, patch, cut)).status, 201);
});

t.test('an END that ties other frames together is caught by the chain', async (t) => {
  const node = await setNode(t);
  const { url, training } = node;
  const weights = await training.train();
  const patch = await training.patch(0, weights);
  const leap = await training.patch(0, weights, 0, 2, Buffer.from(patch.streamId, 'hex'));
  const end = patch.bytes.length - 120;
  await sendPart(node, patch, end);
  const body = Buffer.concat([prologueAt(patch.bytes, end), leap.bytes.subarray(end)]);
  const headers = { ...patchHeaders, 'upload-offset': String(end) };
  const answer = await ask(url, 'PATCH', patchPath(patch.streamId), { headers, body });
  t.match(answer, { status: 422, json: { fault: 'chain' } });
  t.equal(await versionAt(url), 0);
});

t.test('an invalid offset, or one for a missing upload, is refused', async (t) => {
  const { url, training } = await setNode(t);
  const patch = await training.patch(0, await training.train());
  for (const offset of ['-1', '1.5', '0x10', '01', ' ', '1, 1', '1;a=2', '9'.repeat(16)]) {
    t.equal((await goOn(url, patch, 0, { 'upload-offset': offset })).status, 400, offset);
  }
  const without = await ask(url, 'PATCH', patchPath(patch.streamId), {
    headers: patchHeaders,
    body: patch.bytes,
  });
  t.equal(without.status, 400, 'a PATCH must say where it resumes');
  t.equal((await goOn(url, patch, 152)).status, 404);
  t.equal((await head(url, patch)).status, 404);
});

t.test('an upload for an outdated base is refused at once', async (t) => {
  const node = await setNode(t);
  const { url, training } = node;
  const [one, two] = [await training.train(), await training.train(0)];
  const late = await training.patch(0, two);
  const cut = late.bytes.length - 120;
  await sendPart(node, late, cut);
  await put(url, await training.patch(0, one));
  t.match(await goOn(url, late, cut), { status: 409, json: { fault: 'base', version: 1 } });
  t.equal((await head(url, late)).status, 404, 'the upload is gone');
});

t.test('uploads that are too old or too many are removed, oldest first', async (t) => {
  const node = await setNode(t);
  const { url, root, training } = node;
  const weights = await training.train();
  const streams = [];
  for (let k = 0; k < 18; k++) {
    const patch = await training.patch(0, weights, 0, 1, Buffer.alloc(16, k + 1));
    await sendPart(node, patch, 152);
    await head(url, patch);
    const time = new Date(Date.now() - (k === 5 ? 25 * 3600 : 100 - k) * 1000);
    for (const end of ['', '.json']) await utimes(uploadPath(root, patch.streamId) + end, time, time);
    streams.push(patch);
  }
  t.equal((await put(url, await training.patch(0, weights))).status, 201);
  const left = (await readdir(join(root, MODEL, 'uploads'))).filter((name) => name.endsWith('.json')).sort();
  const expected = streams.filter((_, k) => k > 0 && k !== 5).map(({ streamId }) => `${streamId}.json`);
  t.same(left, expected.sort());
});
