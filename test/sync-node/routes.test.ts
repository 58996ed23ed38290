/** The paths of the sync node: which exist, which do not, and what they accept. */

import { once } from 'node:events';
import { readdir, readlink } from 'node:fs/promises';
import t from 'tap';
import { MIB } from '../../gateway/core/units.ts';
import { WEIGHT_PATCH_TYPE } from '../../gateway/patch/layout.ts';
import { answerOf, ask, begin, patchPath } from './asking.ts';
import { gathered, patchHeaders, setNode, versionAt } from './set-node.ts';
import { MODEL } from './training.ts';

t.test('the node reports that it is healthy', async (t) => {
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
  ['GET', `/v1/models/${MODEL}/versions/1`, 404],
  ['GET', `/v1/models/${MODEL}/versions/0/patch`, 404],
  ['GET', `/v1/models/${MODEL}/versions/9/weights`, 404],
  ['PUT', `/v1/models/${MODEL}/versions/0`, 405],
  ['PATCH', `/v1/models/${MODEL}/patches/${stream}`, 415],
  ['GET', `/v1/models/${MODEL}/patches/${stream}`, 405],
  ['POST', `/v1/models/${MODEL}/patches/${stream}`, 405],
  ['POST', '/healthz', 405],
];

t.test('a missing path gives 404, a wrong method 405, and an invalid id 400', async (t) => {
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

t.test('a 405 names the methods that the path accepts', async (t) => {
  const { url } = await setNode(t);
  t.equal((await ask(url, 'GET', patchPath(stream))).headers.allow, 'PUT, PATCH, HEAD');
  t.equal((await ask(url, 'POST', `/v1/models/${MODEL}`)).headers.allow, 'GET, HEAD');
});

t.test('anything but a weight patch gives 415', async (t) => {
  const { url, training } = await setNode(t);
  const patch = await training.patch(0, await training.train());
  for (const type of ['application/octet-stream', 'text/plain', `${WEIGHT_PATCH_TYPE}x`, '']) {
    const answer = await ask(url, 'PUT', patchPath(patch.streamId), {
      headers: { 'content-type': type },
      body: patch.bytes,
    });
    t.equal(answer.status, 415, type);
  }
  t.equal(await versionAt(url), 0);
});

t.test('a caller that is still sending hears a refusal', async (t) => {
  const { url } = await setNode(t);
  for (let round = 0; round < 5; round++) {
    const sent = begin(url, 'PUT', patchPath('not-a-stream'), patchHeaders);
    const answered = answerOf(sent);
    const block = Buffer.alloc(MIB);
    for (let k = 0; k < 8; k++) sent.write(block);
    t.equal((await answered).status, 400);
    sent.destroy();
  }
});

t.test('a node that closes drops callers that are still sending', async (t) => {
  const { url, node, training, root } = await setNode(t);
  const patch = await training.patch(0, await training.train());
  const sent = begin(url, 'PUT', patchPath(patch.streamId), patchHeaders);
  const broken = once(sent, 'error');
  sent.write(patch.bytes.subarray(0, 500));
  await gathered(root, patch.streamId, 152);
  await node.close();
  t.notOk(
    (await openFiles()).some((path) => path.startsWith(root)),
    'nothing of theirs is written any more',
  );
  t.ok(await broken);
});

/** The files this process has open. */
async function openFiles(): Promise<string[]> {
  const descriptors = await readdir('/proc/self/fd');
  return Promise.all(descriptors.map((each) => readlink(`/proc/self/fd/${each}`).catch(() => '')));
}
