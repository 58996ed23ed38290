/** A cut upload resumes through the gateway, or through another one, but never beyond what its token allows. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { MIB } from '../../gateway/core/units.ts';
import { pushPatch } from '../../gateway/push/push.ts';
import { createModel } from '../../gateway/sync-node/create-model.ts';
import { startSyncNode } from '../../gateway/sync-node/sync-node.ts';
import { newFolder } from '../new-folder.ts';
import { cutLine } from '../push/cutting-line.ts';
import { frameStarts, gathered, plans, prologueAt, uploadPath, wholeFrames } from '../sync-node/set-node.ts';
import { type MadePatch, MODEL, Training } from '../sync-node/training.ts';
import { HOST, type Stage, setStage } from './stage.ts';
import { offsetAt, type Request, ROUTES, restOf, send, sendUntil } from './upload-caller.ts';

/** A node with a model at version 0 behind a gateway, and the patch to version 1. */
async function setNode(t: Test) {
  const folder = await newFolder(t);
  const training = await Training.begin(folder, 75, plans);
  const root = join(folder, 'models');
  await createModel(root, MODEL, training.pathOf(0));
  const node = await startSyncNode({ root });
  t.teardown(() => node.close());
  const patch = await training.patch(0, await training.train());
  const stage = await setStage(t, { nodes: [`127.0.0.1:${node.port}`], routes: ROUTES });
  return { training, root, node, patch, stage };
}

/** Makes the caller leave after so many bytes of the stream. */
async function cutAt(stage: Stage, root: string, patch: MadePatch, cut: number): Promise<void> {
  const socket = await sendUntil(stage, patch, cut);
  await gathered(root, patch.streamId, wholeFrames(patch.bytes, cut));
  socket.destroy();
}

async function versionAt(url: string): Promise<number> {
  const described = await fetch(`${url}/v1/models/${MODEL}`).then((response) => response.json());
  return (described as { readonly version: number }).version;
}

t.test('an upload cut at any frame resumes through a new gateway', async (t) => {
  const { training, root, node, stage } = await setNode(t);
  const first = await training.patch(0, 1);
  const cuts = frameStarts(first.bytes).length - 1;
  for (let k = 1; k <= cuts; k++) {
    const patch = k === 1 ? first : await training.patch(k - 1, await training.train());
    const starts = frameStarts(patch.bytes);
    const cut = (starts[Math.min(k, starts.length - 1)] ?? 0) + 9;
    await cutAt(stage, root, patch, cut);
    const whole = wholeFrames(patch.bytes, cut);
    t.equal(await offsetAt(stage, patch), whole);
    t.match(await send(stage, patch, restOf(patch, whole)), /^HTTP\/1\.1 201 [\s\S]*upload-complete: \?1/i);
    t.equal(await versionAt(node.url), k);
  }
  const last = await training.patch(cuts, await training.train());
  const cut = frameStarts(last.bytes)[3] ?? 0;
  await cutAt(stage, root, last, cut + 40);
  await offsetAt(stage, last);
  await stage.gateway.stopNow();
  const other = await setStage(t, { nodes: [`127.0.0.1:${node.port}`], routes: ROUTES });
  t.equal(await offsetAt(other, last), cut);
  t.match(await send(other, last, restOf(last, cut)), /^HTTP\/1\.1 201 /);
  const made = await readFile(join(root, MODEL, `${cuts + 1}.safetensors`));
  t.ok(made.equals(await training.read(cuts + 1)), 'the weights are equal bit for bit');
});

t.test('a push whose line through the gateway breaks resumes by itself', async (t) => {
  const folder = await newFolder(t);
  const training = await Training.begin(folder, 76, [
    ['a', 'F32', [100_000]],
    ['b', 'F32', [100_000]],
  ]);
  const root = join(folder, 'models');
  await createModel(root, MODEL, training.pathOf(0));
  await training.train();
  const node = await startSyncNode({ root });
  t.teardown(() => node.close());
  const stage = await setStage(t, { nodes: [`127.0.0.1:${node.port}`], routes: ROUTES });
  const line = await cutLine(t, stage.port, [{ sent: 65_000 }, { sent: 5000 }, { answer: 'never' }]);
  const result = await pushPatch({
    to: `https://${HOST}`,
    connectTo: { host: '127.0.0.1', port: line.port },
    modelId: MODEL,
    basePath: training.pathOf(0),
    targetPath: training.pathOf(1),
    certPem: stage.worker.certificatePem,
    keyPem: stage.worker.privateKeyPem,
    caPem: stage.ca,
    token: await stage.token({ model_id: MODEL }),
    pauseMs: 20,
  });
  t.match(result, { status: 201, version: 1 });
  t.ok(line.connections() >= 3, 'the line broke twice');
  t.ok((await readFile(join(root, MODEL, '1.safetensors'))).equals(await training.read(1)));
});

t.test('a resumed upload is checked against its token and against who began it', async (t) => {
  const { training, root, node, patch, stage } = await setNode(t);
  const cut = frameStarts(patch.bytes)[3] ?? 0;
  await cutAt(stage, root, patch, cut);
  t.equal(await offsetAt(stage, patch), cut);
  const rest = restOf(patch, cut);
  const refused: readonly (readonly [string, Request, RegExp])[] = [
    [
      'a token for another version',
      { ...rest, claims: { target_version: 7 } },
      /^HTTP\/1\.1 403 [\s\S]*"fault":"version"/,
    ],
    [
      'a token that may only read',
      { ...rest, claims: { scope: 'read' } },
      /^HTTP\/1\.1 403 [\s\S]*insufficient-scope/,
    ],
    [
      'a token for another model',
      { ...rest, claims: { model_id: 'other_model' } },
      /^HTTP\/1\.1 403 [\s\S]*claim-denied/,
    ],
    [
      'a token of somebody else',
      { ...rest, claims: { sub: 'worker-2' } },
      /^HTTP\/1\.1 403 [\s\S]*Somebody else began/,
    ],
    [
      'an offset that is not a plain number',
      { ...rest, fields: 'Upload-Offset: 1e3\r\n' },
      /^HTTP\/1\.1 400 [\s\S]*bad-request/,
    ],
    [
      'two offsets',
      { ...rest, fields: `Upload-Offset: ${cut}\r\nUpload-Offset: 0\r\n` },
      /^HTTP\/1\.1 400 [\s\S]*bad-request/,
    ],
    [
      'an offset that Connection would take away from the node',
      { ...rest, fields: `Upload-Offset: ${cut}\r\nConnection: upload-offset\r\n` },
      /^HTTP\/1\.1 400 [\s\S]*bad-request/,
    ],
    [
      'another offset than the body has',
      { ...rest, fields: 'Upload-Offset: 900\r\n' },
      /^HTTP\/1\.1 409 [\s\S]*"fault":"offset"/,
    ],
    [
      'a rest without OPEN',
      { ...rest, body: patch.bytes.subarray(cut) },
      /^HTTP\/1\.1 4\d\d [\s\S]*patch-invalid/,
    ],
    [
      'a missing offset, which means the beginning',
      { ...rest, fields: '' },
      /^HTTP\/1\.1 409 [\s\S]*"fault":"sequence"/,
    ],
    ['more than the route accepts in all', restAt(patch, MIB), /^HTTP\/1\.1 4\d\d [\s\S]*patch-invalid/],
  ];
  for (const [title, request, answer] of refused) {
    t.match(await send(stage, patch, request), answer, `${title} is refused`);
    t.equal(await offsetAt(stage, patch), cut, 'nothing of the refused request is kept');
  }
  const late = await training.patch(0, 1, 0, 1, Buffer.from(patch.streamId, 'hex'), MODEL, 200);
  const lie = { ...rest, body: Buffer.concat([prologueAt(late.bytes, cut), patch.bytes.subarray(cut)]) };
  t.match(
    await send(stage, patch, lie),
    /^HTTP\/1\.1 403 [\s\S]*"fault":"epoch"/,
    'a later epoch is refused',
  );
  const early = await training.patch(0, 1, 0, 1, Buffer.from(patch.streamId, 'hex'), MODEL, 0);
  const hidden = { ...rest, body: Buffer.concat([prologueAt(early.bytes, cut), patch.bytes.subarray(cut)]) };
  t.match(
    await send(stage, patch, hidden),
    /^HTTP\/1\.1 409 [\s\S]*OPEN and TENSOR/,
    'an OPEN other than the first is refused',
  );
  t.equal(await versionAt(node.url), 0);
  t.match(await send(stage, patch, rest), /^HTTP\/1\.1 201 /);
});

const COUNTED = ROUTES.replace(
  'maxBytes: 1MiB, check: deep',
  'maxBytes: 64MiB, check: values, maxChanged: 100%',
);

t.test('a share of a tensor cannot be split, so the upload must begin anew', async (t) => {
  const folder = await newFolder(t);
  const training = await Training.begin(folder, 77, [['a', 'I32', [2_000_000]]]);
  const root = join(folder, 'models');
  await createModel(root, MODEL, training.pathOf(0));
  await training.train();
  const node = await startSyncNode({ root });
  t.teardown(() => node.close());
  const stage = await setStage(t, { nodes: [`127.0.0.1:${node.port}`], routes: COUNTED });
  const patch = await training.patch(0, 1);
  const starts = frameStarts(patch.bytes);
  const cut = starts.at(-2) ?? 0;
  t.ok(starts.length > 4, `there are ${starts.length - 3} frames of changes`);
  await cutAt(stage, root, patch, cut + 9);
  t.equal(await offsetAt(stage, patch), cut);
  const refused = await send(stage, patch, restOf(patch, cut));
  t.match(refused, /^HTTP\/1\.1 409 [\s\S]*"fault":"offset"[\s\S]*the stream was cut within a, /);
  t.equal(await versionAt(node.url), 0);
  t.match(await send(stage, patch, { method: 'PUT', body: patch.bytes }), /^HTTP\/1\.1 201 /);
});

t.test('END never reaches the node from a spoiled rest', async (t) => {
  const { root, node, patch, stage } = await setNode(t);
  const cut = frameStarts(patch.bytes)[3] ?? 0;
  await cutAt(stage, root, patch, cut);
  await offsetAt(stage, patch);
  const rest = restOf(patch, cut);
  const spoiled = Buffer.from(rest.body ?? '');
  const last = frameStarts(patch.bytes).at(-2) ?? 0;
  const value = last + patch.bytes.readUInt16LE(last + 6);
  const at = spoiled.length - (patch.bytes.length - value);
  spoiled[at] = (spoiled[at] ?? 0) ^ 1;
  t.match(
    await send(stage, patch, { ...rest, body: spoiled }),
    /^HTTP\/1\.1 422 [\s\S]*"fault":"payload-crc"/,
  );
  t.ok(await offsetAt(stage, patch), 'the good part is still there');
  t.equal(await versionAt(node.url), 0);
  t.ok((await readFile(uploadPath(root, patch.streamId))).length >= cut);
});

/** The rest of a stream that claims to be much longer. */
function restAt(patch: MadePatch, offset: number): Request {
  return { ...restOf(patch, frameStarts(patch.bytes)[3] ?? 0), fields: `Upload-Offset: ${offset}\r\n` };
}
