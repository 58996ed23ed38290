/** With several nodes a cut upload resumes at the node that has it, whichever gateway it goes through. */

import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { createModel } from '../../gateway/sync-node/create-model.ts';
import { startSyncNode } from '../../gateway/sync-node/sync-node.ts';
import { newFolder } from '../new-folder.ts';
import { frameStarts, plans, uploadPath, wholeFrames } from '../sync-node/set-node.ts';
import { Training } from '../sync-node/training.ts';
import { type Stage, setStage } from './stage.ts';
import { offsetAt, ROUTES, restOf, send, sendUntil, type Upload } from './upload-caller.ts';
import { until } from './upstream-stage.ts';

/** Nodes of streams depend on free ports; that all of so many fall to one happens once in half a million runs. */
const STREAMS = 20;

interface Node {
  readonly url: string;
  readonly address: string;
  readonly root: string;
}

interface CutUpload extends Upload {
  readonly model: string;
  /** Bytes of the frames that arrived completely. */
  readonly whole: number;
  readonly owner: Node;
}

/** Two nodes with the same models, and a patch for each model. */
async function setNodes(t: Test) {
  const folder = await newFolder(t);
  const training = await Training.begin(folder, 78, plans);
  const weights = await training.train();
  const models = Array.from({ length: STREAMS }, (_, k) => `model_${k}`);
  const uploads: (Upload & { readonly model: string })[] = [];
  for (const model of models) {
    uploads.push({ ...(await training.patch(0, weights, 0, 1, undefined, model)), model });
  }
  const nodes: Node[] = [];
  for (const name of ['one', 'two']) {
    const root = join(folder, name);
    for (const model of models) await createModel(root, model, training.pathOf(0));
    const node = await startSyncNode({ root });
    t.teardown(() => node.close());
    nodes.push({ url: node.url, address: `127.0.0.1:${node.port}`, root });
  }
  return { uploads, nodes };
}

function setGateway(t: Test, nodes: readonly Node[]): Promise<Stage> {
  return setStage(t, {
    nodes: nodes.map(({ address }) => address),
    upstream: "    balance: hash\n    hashOn: '{stream_id}'\n",
    routes: ROUTES.replace(/ {2}- name: weights[\s\S]*/, ''),
  });
}

/** The nodes that have at least so many bytes of a stream. */
async function holders(nodes: readonly Node[], { streamId, model }: Upload, bytes: number): Promise<Node[]> {
  const sizes = await Promise.all(
    nodes.map(({ root }) =>
      stat(uploadPath(root, streamId, model)).then(
        ({ size }) => size,
        () => -1,
      ),
    ),
  );
  return nodes.filter((_, k) => (sizes[k] ?? -1) >= bytes);
}

/** Cuts an upload within a frame, a different one for each stream. */
async function cut(
  stage: Stage,
  nodes: readonly Node[],
  upload: Upload & { readonly model: string },
  k: number,
): Promise<CutUpload> {
  const starts = frameStarts(upload.bytes);
  const at = (starts[2 + (k % (starts.length - 2))] ?? 0) + 9;
  const whole = wholeFrames(upload.bytes, at);
  const socket = await sendUntil(stage, upload, at);
  await until(async () => (await holders(nodes, upload, whole)).length > 0);
  socket.destroy();
  const [owner] = await holders(nodes, upload, 0);
  if (owner === undefined) throw new Error('no node has it');
  return { ...upload, whole, owner };
}

/** Asks for the offset and resumes there: the node that has the upload makes the version, and no other does. */
async function goOn(t: Test, stage: Stage, nodes: readonly Node[], upload: CutUpload): Promise<void> {
  const { model, whole, owner } = upload;
  t.same(await holders(nodes, upload, 0), [owner], `one node has ${model}`);
  t.equal(await offsetAt(stage, upload), whole, 'HEAD goes to that node');
  t.match(await send(stage, upload, restOf(upload, whole)), /^HTTP\/1\.1 201 /, 'PATCH goes to that node');
  for (const node of nodes) {
    const described = await fetch(`${node.url}/v1/models/${model}`).then((response) => response.json());
    const made = node === owner ? { version: 1, digest: upload.digest } : { version: 0 };
    t.match(described, made);
  }
}

function spread(t: Test, uploads: readonly CutUpload[]): void {
  const counts = new Map<string, number>();
  for (const { owner } of uploads) counts.set(owner.url, (counts.get(owner.url) ?? 0) + 1);
  t.equal(counts.size, 2, `both nodes have streams: ${[...counts.values()].join(' and ')}`);
}

t.test('an upload resumes at the node that has it', async (t) => {
  const { uploads, nodes } = await setNodes(t);
  const stage = await setGateway(t, nodes);
  const cuts: CutUpload[] = [];
  for (const [k, upload] of uploads.entries()) cuts.push(await cut(stage, nodes, upload, k));
  spread(t, cuts);
  for (const upload of cuts) await goOn(t, stage, nodes, upload);
});

t.test('an upload finds its node through a new gateway with the nodes in another order', async (t) => {
  const { uploads, nodes } = await setNodes(t);
  const first = await setGateway(t, nodes);
  const cuts: CutUpload[] = [];
  for (const [k, upload] of uploads.entries()) cuts.push(await cut(first, nodes, upload, k));
  spread(t, cuts);
  await first.gateway.stopNow();
  const second = await setGateway(t, nodes.toReversed());
  for (const upload of cuts) await goOn(t, second, nodes, upload);
});
