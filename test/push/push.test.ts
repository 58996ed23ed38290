/** The pushing client with a real sync node: what it sends, and what it says when it cannot. */

import { writeFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { writeSafetensors } from '../../gateway/patch/safetensors.ts';
import { type PushOptions, pushPatch } from '../../gateway/push/push.ts';
import { TransferError } from '../../gateway/push/transfer-error.ts';
import { createModel } from '../../gateway/sync-node/create-model.ts';
import { startSyncNode } from '../../gateway/sync-node/sync-node.ts';
import { newFolder } from '../new-folder.ts';
import { changeTensor, type RandomTensor, randomTensor } from '../patch/random-model.ts';
import { SeededRandom } from '../patch/seeded-random.ts';

const modelId = 'bert_tiny';
const parameters = 5100;

/** A node with the base, and the target beside it. */
async function setNode(t: Test) {
  const folder = await newFolder(t);
  const random = new SeededRandom(80);
  const base = [randomTensor(random, ['w', 'F32', [5000]]), randomTensor(random, ['b', 'F16', [100]])];
  const target = base.map((tensor) => changeTensor(random, tensor, 'singles'));
  const [basePath, targetPath] = [join(folder, 'base.safetensors'), join(folder, 'target.safetensors')];
  await writeSafetensors(basePath, base);
  await writeSafetensors(targetPath, target);
  const root = join(folder, 'models');
  await createModel(root, modelId, basePath);
  const node = await startSyncNode({ root });
  t.teardown(() => node.close());
  const options = { to: node.url, modelId, basePath, targetPath } satisfies PushOptions;
  return { folder, root, base, target, options, node };
}

/** The error with which a push ends. */
async function refusalOf(options: PushOptions): Promise<TransferError> {
  const error = await pushPatch(options).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof TransferError) return error;
  throw new Error('the push did not end with a TransferError', { cause: error });
}

/** The number of elements whose bits differ. */
function differences(base: readonly RandomTensor[], target: readonly RandomTensor[]): number {
  return base.reduce((sum, { data, dtype }, k) => {
    const size = dtype === 'F32' ? 4 : 2;
    const other = target[k]?.data ?? Buffer.alloc(0);
    const indices = Array.from({ length: data.length / size }, (_, index) => index * size);
    return sum + indices.filter((at) => data.compare(other, at, at + size, at, at + size) !== 0).length;
  }, 0);
}

t.test('changes are sent, and the node has the target bit for bit', async (t) => {
  const { options, base, target, root } = await setNode(t);
  const told: (readonly [number, number])[] = [];
  const result = await pushPatch({ ...options, onProgress: (sent, total) => told.push([sent, total]) });
  const made = await readFile(join(root, modelId, '1.safetensors'));
  t.ok(made.equals(await readFile(options.targetPath)));
  t.match(result, { status: 201, version: 1, changed: differences(base, target), parameters });
  t.equal(result.modelBytes, made.length);
  t.ok(result.bytesSent < result.modelBytes / 4);
  t.match(result.digest, /^[0-9a-f]{64}$/);
  t.same(told[0], [0, result.bytesSent]);
  t.same(told.at(-1), [result.bytesSent, result.bytesSent]);
  t.same(
    told.map(([sent]) => sent),
    told.map(([sent]) => sent).sort((a, b) => a - b),
    'progress only rises',
  );
});

t.test('an unchanged target makes a version too', async (t) => {
  const { options } = await setNode(t);
  t.match(await pushPatch({ ...options, targetPath: options.basePath }), {
    status: 201,
    version: 1,
    changed: 0,
  });
});

t.test('consecutive pushes each begin where the last ended', async (t) => {
  const { options } = await setNode(t);
  const back = { ...options, basePath: options.targetPath, targetPath: options.basePath };
  const versions = [];
  for (const each of [options, back, options]) versions.push((await pushPatch(each)).version);
  t.same(versions, [1, 2, 3]);
});

t.test('a base that the receiver does not have is reported before anything is sent', async (t) => {
  const { options, root } = await setNode(t);
  await pushPatch(options);
  const told: number[] = [];
  const error = await refusalOf({ ...options, onProgress: (sent) => told.push(sent) });
  t.match(
    error.message,
    /^.*base\.safetensors is not what the receiver has: its digest is [0-9a-f]{64}, the receiver's [0-9a-f]{64}; the receiver is at version 1, digest/,
  );
  t.same(told, []);
  t.equal(error.status, undefined);
  t.ok(await readFile(join(root, modelId, '1.safetensors')));
});

t.test('a gateway that cannot be reached is reported', async (t) => {
  const { options, node } = await setNode(t);
  await node.close();
  const error = await refusalOf({ ...options, pauseMs: 1 });
  t.match(error.message, /^the gateway cannot be reached: .*ECONNREFUSED/);
  t.equal(error.status, undefined);
});

t.test('an invalid address is reported', async (t) => {
  const { options } = await setNode(t);
  for (const to of ['', 'gateway', 'localhost:8443', 'ftp://gateway', 'https://', '/v1']) {
    t.equal((await refusalOf({ ...options, to })).message, `${to} is not an http or https URL`);
  }
});

t.test('TCP connects to the given address while the name stays', async (t) => {
  const { options, node } = await setNode(t);
  const connectTo = { host: node.host, port: node.port };
  t.match(await pushPatch({ ...options, to: 'http://tenant-a.example.com', connectTo }), { status: 201 });
});

t.test('a model that the receiver does not have is its refusal, in its own words', async (t) => {
  const { options } = await setNode(t);
  const error = await refusalOf({ ...options, modelId: 'unknown_model' });
  t.equal(error.message, 'refused with 404: There is no such model.');
  t.equal(error.status, 404);
  t.match(error.problem, { status: 404, detail: 'There is no such model.' });
});

t.test('files that are missing or no safetensors are named', async (t) => {
  const { options, folder } = await setNode(t);
  const bad = join(folder, 'bad');
  await writeFile(bad, 'not a model at all');
  const missing = join(folder, 'missing');
  t.match(
    (await refusalOf({ ...options, basePath: bad })).message,
    /bad: a header of [0-9]+ bytes does not fit$/,
  );
  t.match(
    (await refusalOf({ ...options, targetPath: bad })).message,
    /bad: a header of [0-9]+ bytes does not/,
  );
  t.match((await refusalOf({ ...options, targetPath: missing })).message, /missing: ENOENT/);
});

t.test('for models without a patch between them the tensor in the way is named', async (t) => {
  const { options, folder, base } = await setNode(t);
  const other = join(folder, 'other');
  await writeSafetensors(other, base.slice(0, 1));
  const error = await refusalOf({ ...options, targetPath: other });
  t.equal(error.message, 'tensor b is missing from the target');
});

t.test('a push that is stopped says so, before its start or in the middle', async (t) => {
  const { options, root } = await setNode(t);
  t.equal((await refusalOf({ ...options, signal: AbortSignal.abort() })).message, 'the push was stopped');
  const control = new AbortController();
  const onProgress = () => control.abort(new Error('enough'));
  t.equal(
    (await refusalOf({ ...options, signal: control.signal, onProgress })).message,
    'the push was stopped',
  );
  await t.rejects(readFile(join(root, modelId, '1.safetensors')), { code: 'ENOENT' });
});

t.test('a file that changes while it is sent is reported and makes no version', async (t) => {
  const { options, root, base } = await setNode(t);
  const copy = Buffer.from(await readFile(options.basePath));
  const onProgress = (sent: number) => {
    if (sent === 0) writeFileSync(options.targetPath, copy);
  };
  const error = await refusalOf({ ...options, onProgress });
  t.match(
    error.message,
    /^a model file changed while it was sent: announced [0-9]+ changes in 2 tensors, wrote 0/,
  );
  t.equal(base.length, 2);
  await t.rejects(readFile(join(root, modelId, '1.safetensors')), { code: 'ENOENT' });
});

/** A server that gives every request the same answer. */
async function answering(t: Test, status: number, body: string): Promise<string> {
  const server: Server = createServer((request, response) => {
    request.resume();
    response.writeHead(status, { 'content-length': Buffer.byteLength(body) }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => new Promise((resolve) => server.close(resolve)));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const answers: readonly (readonly [title: string, status: number, body: string, message: string])[] = [
  ['something other than JSON', 200, '<html>', 'the answer is not from a sync node'],
  ['other JSON', 200, '{"hello":"world"}', 'the answer is not from a sync node'],
  ['nothing', 204, '', 'the answer is not from a sync node'],
  ['a redirect', 302, '', 'refused with 302'],
  ['a refusal without words', 502, '<html>', 'refused with 502'],
  [
    'a refusal of the gateway',
    403,
    '{"code":"claim-denied","detail":"The token is for another model."}',
    'refused with 403 claim-denied: The token is for another model.',
  ],
  [
    'a fault of the patch',
    422,
    '{"code":"patch-invalid","fault":"chain","detail":"The chain does not match."}',
    'refused with 422 chain: The chain does not match.',
  ],
];

for (const [title, status, body, message] of answers) {
  t.test(`an answer of ${title} is reported as such`, async (t) => {
    const { options } = await setNode(t);
    const error = await refusalOf({ ...options, to: await answering(t, status, body), pauseMs: 1 });
    t.equal(error.message, message);
    if (status > 299) t.equal(error.status, status);
  });
}
