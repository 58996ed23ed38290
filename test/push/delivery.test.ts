/** A push over a line that breaks resumes by itself and finds out about lost answers. */

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { writeSafetensors } from '../../gateway/patch/safetensors.ts';
import { pushPatch } from '../../gateway/push/push.ts';
import { createModel } from '../../gateway/sync-node/create-model.ts';
import { startSyncNode } from '../../gateway/sync-node/sync-node.ts';
import { until } from '../lists/servers.ts';
import { newFolder } from '../new-folder.ts';
import { changeTensor, randomTensor } from '../patch/random-model.ts';
import { SeededRandom } from '../patch/seeded-random.ts';
import { cutLine } from './cutting-line.ts';

const modelId = 'bert_tiny';

/** A node that has the base; the patch to the target has several frames of 256 KiB. */
async function setNode(t: Test) {
  const folder = await newFolder(t);
  const random = new SeededRandom(90);
  const base = [randomTensor(random, ['a', 'F32', [100_000]]), randomTensor(random, ['b', 'F32', [200_000]])];
  const target = base.map((tensor) => changeTensor(random, tensor, 'dense'));
  const [basePath, targetPath] = [join(folder, 'base.safetensors'), join(folder, 'target.safetensors')];
  await writeSafetensors(basePath, base);
  await writeSafetensors(targetPath, target);
  const root = join(folder, 'models');
  await createModel(root, modelId, basePath);
  const node = await startSyncNode({ root });
  t.teardown(() => node.close());
  return { options: { modelId, basePath, targetPath, pauseMs: 1 }, node, root };
}

t.test('a push that is cut resumes at the last whole frame and arrives bit for bit', async (t) => {
  const { options, node, root } = await setNode(t);
  const cuts = [{ sent: 400_000 }, { sent: 100 }, { sent: 300_000 }, { sent: 700_000 }];
  const line = await cutLine(t, node.port, cuts);
  const sent: number[] = [];
  const onProgress = (bytes: number) => sent.push(bytes);
  const result = await pushPatch({ ...options, to: line.url, onProgress });
  t.match(result, { status: 201, version: 1 });
  t.ok(result.resumedAt.length >= 2, `the push resumed at ${result.resumedAt}`);
  t.ok((result.resumedAt[0] ?? 0) > 250_000, 'the push did not resume at the beginning');
  t.same(
    result.resumedAt,
    result.resumedAt.toSorted((a, b) => a - b),
    'each resumption is further than the last',
  );
  t.equal(sent.at(-1), result.bytesSent);
  t.ok((await readFile(join(root, modelId, '1.safetensors'))).equals(await readFile(options.targetPath)));
});

t.test('a lost answer is asked for again with the end of the stream and is a 200', async (t) => {
  const { options, node } = await setNode(t);
  const line = await cutLine(t, node.port, [{ answer: 'HTTP/1.1 201' }]);
  const result = await pushPatch({ ...options, to: line.url });
  t.match(result, { status: 200, version: 1, resumedAt: [result.bytesSent - 120] });
});

t.test('a push that makes no progress is given up after the given number of tries', async (t) => {
  const { options, node } = await setNode(t);
  const cuts = [{ sent: 2000 }, ...Array.from({ length: 20 }, () => ({ sent: 10 }))];
  const line = await cutLine(t, node.port, cuts);
  await t.rejects(pushPatch({ ...options, to: line.url, retries: 3 }), {
    message: /^the gateway cannot be reached: /,
  });
  t.equal(line.connections(), 4);
});

t.test('a push can be stopped while it waits', async (t) => {
  const { options, node } = await setNode(t);
  const line = await cutLine(t, node.port, [{ sent: 2000 }]);
  const control = new AbortController();
  const pushing = pushPatch({ ...options, to: line.url, pauseMs: 60_000, signal: control.signal });
  await until(() => line.connections() === 1);
  setTimeout(() => control.abort(), 100);
  await t.rejects(pushing, { message: 'the push was stopped' });
});

/** Answers each request with the next of the given answers; `asked` lists the requests. */
async function answering(t: Test, answers: readonly (readonly [number, Record<string, string>, string])[]) {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const [status, fields, body] = answers[asked.length] ?? [500, {}, ''];
    asked.push(`${request.method} ${request.headers['upload-offset'] ?? ''}`.trim());
    request.resume();
    request.on('end', () => response.writeHead(status, fields).end(request.method === 'HEAD' ? '' : body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  return { to: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

t.test('temporary failures are retried, and after a disagreement the node is asked', async (t) => {
  const { options, node } = await setNode(t);
  const described = await fetch(`${node.url}/v1/models/${modelId}`).then((response) => response.text());
  const made = '{"version":1,"changed":3,"digest":"ab"}';
  const { to, asked } = await answering(t, [
    [200, {}, described],
    [503, { 'retry-after': '0' }, '{}'],
    [204, { 'upload-offset': '152' }, ''],
    [409, { 'upload-offset': '0' }, '{"detail":"elsewhere"}'],
    [404, {}, ''],
    [502, {}, '{}'],
    [204, { 'upload-offset': '153' }, ''],
    [201, {}, made],
  ]);
  t.match(await pushPatch({ ...options, to }), { status: 201, resumedAt: [152] });
  t.same(asked.slice(0, 7), ['GET', 'PUT', 'HEAD', 'PATCH 152', 'HEAD', 'PUT', 'HEAD']);
  t.match(asked[7], /^(PATCH 153|PUT)$/, 'no frame begins at 153');
});

t.test('if the offset is not told at once it is asked for again, without beginning anew', async (t) => {
  const { options, node } = await setNode(t);
  const described = await fetch(`${node.url}/v1/models/${modelId}`).then((response) => response.text());
  const busy = [429, 502, 503, 504].map((status) => [status, { 'retry-after': '0' }, ''] as const);
  const { to, asked } = await answering(t, [
    [200, {}, described],
    [408, {}, '{}'],
    ...busy,
    [204, { 'upload-offset': '152' }, ''],
    [201, {}, '{"version":1,"changed":3,"digest":"ab"}'],
  ]);
  t.match(await pushPatch({ ...options, to }), { status: 201, resumedAt: [152] });
  t.same(asked, ['GET', 'PUT', ...busy.map(() => 'HEAD'), 'HEAD', 'PATCH 152']);
  const closed = await answering(t, [[200, {}, described], [408, {}, '{}'], ...busy]);
  const pushing = pushPatch({ ...options, to: closed.to, retries: 4 });
  await t.rejects(pushing, { message: 'refused with 504' }, 'it is not asked more often than told');
});

t.test('the state of the receiver is asked for again after a temporary failure', async (t) => {
  const { options, node } = await setNode(t);
  const described = await fetch(`${node.url}/v1/models/${modelId}`).then((response) => response.text());
  const { to, asked } = await answering(t, [
    [503, { 'retry-after': '0' }, '{}'],
    [502, {}, '{}'],
    [200, {}, described],
    [201, {}, '{"version":1,"changed":3,"digest":"ab"}'],
  ]);
  t.match(await pushPatch({ ...options, to }), { status: 201, resumedAt: [] });
  t.same(asked, ['GET', 'GET', 'GET', 'PUT']);
});

t.test('a gateway without TLS is not asked again', async (t) => {
  const { options, node } = await setNode(t);
  const line = await cutLine(t, node.port, []);
  await t.rejects(pushPatch({ ...options, to: line.url.replace('http:', 'https:') }), {
    message: /^the gateway cannot be reached: /,
  });
  t.equal(line.connections(), 1);
});

t.test('a refusal is final, and nothing is sent again', async (t) => {
  const { options, node } = await setNode(t);
  const described = await fetch(`${node.url}/v1/models/${modelId}`).then((response) => response.text());
  for (const status of [400, 401, 403, 409, 413, 422, 500, 507]) {
    const { to, asked } = await answering(t, [
      [200, {}, described],
      [status, {}, '{"detail":"no"}'],
    ]);
    await t.rejects(pushPatch({ ...options, to }), { message: new RegExp(`^refused with ${status}: no`) });
    t.same(asked, ['GET', 'PUT']);
  }
});
