/** A real weight patch through the real gateway to a real sync node. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { writeSafetensors } from '../../gateway/patch/safetensors.ts';
import { PushError, type PushOptions, pushPatch } from '../../gateway/push/push.ts';
import { createModel } from '../../gateway/sync-node/model-store.ts';
import { startSyncNode } from '../../gateway/sync-node/sync-node.ts';
import { HOST, setStage } from './stage.ts';

const ROUTES = `  - name: push
    match: { methods: [PUT], path: '/v1/models/{model_id}/patches/{stream_id}' }
    require: { scope: finetune, claims: { model_id: '{model_id}' } }
    stream: { format: weight-patch, maxBytes: 1MiB, check: deep }
    upstream: sync
  - name: weights
    match: { methods: [GET, HEAD], path: '/v1/models/{model_id}/**' }
    require: { scope: read }
    upstream: sync
`;

function tensors(seed: number) {
  const data = new Float32Array(20_000).map((_, index) => (index % 97 === 0 ? seed : index));
  return [{ name: 'w', dtype: 'F32' as const, shape: [200, 100], data: Buffer.from(data.buffer) }];
}

t.test('a patch is pushed, applied, and refused where it may not be', async (t) => {
  const folder = t.testdir({});
  const [base, target] = [join(folder, 'base.safetensors'), join(folder, 'target.safetensors')];
  await writeSafetensors(base, tensors(1));
  await writeSafetensors(target, tensors(2));
  const root = join(folder, 'models');
  await createModel(root, 'vision', base);
  const node = await startSyncNode({ root });
  t.teardown(() => node.close());
  const stage = await setStage(t, { nodes: [`127.0.0.1:${node.port}`], routes: ROUTES });
  const told: number[] = [];
  const options: PushOptions = {
    to: `https://${HOST}`,
    connectTo: { host: '127.0.0.1', port: stage.port },
    modelId: 'vision',
    basePath: base,
    targetPath: target,
    epoch: 1,
    certPem: stage.worker.certificatePem,
    keyPem: stage.worker.privateKeyPem,
    caPem: stage.ca,
    token: await stage.token(),
    onProgress: (sent, total) => told.push(sent / total),
  };

  const refused = (more: Partial<PushOptions>) => refusalOf({ ...options, ...more });
  t.match(await refused({ token: await stage.token({ scope: 'read' }) }), {
    status: 403,
    problem: { code: 'insufficient-scope' },
  });
  t.match(await refused({ token: await stage.token({ model_id: 'other' }) }), {
    status: 403,
    problem: { code: 'claim-denied' },
  });
  t.match(await refused({ epoch: 200 }), { status: 403, problem: { fault: 'epoch' } });

  const result = await pushPatch(options);
  t.match(result, { status: 201, version: 1, changed: 207, parameters: 20_000 });
  t.equal(told.at(-1), 1);
  t.same(await readFile(join(root, 'vision', '1.safetensors')), await readFile(target), 'bit for bit');

  t.match(await refused({}), { message: /is not what the receiver has/ });
});

/** The error a push ends with. */
async function refusalOf(options: PushOptions): Promise<PushError> {
  const error = await pushPatch(options).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof PushError) return error;
  throw new Error('the push was not refused', { cause: error });
}
