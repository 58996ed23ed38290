/** A real weight patch through the real gateway to a real sync node. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { WEIGHT_PATCH_TYPE } from '../../gateway/patch/layout.ts';
import { writeSafetensors } from '../../gateway/patch/safetensors.ts';
import { patchModel } from '../../gateway/patch/write.ts';
import { type PushOptions, pushPatch } from '../../gateway/push/push.ts';
import { TransferError } from '../../gateway/push/transfer-error.ts';
import { createModel } from '../../gateway/sync-node/create-model.ts';
import { startSyncNode } from '../../gateway/sync-node/sync-node.ts';
import { newFolder } from '../new-folder.ts';
import { exchange, HOST, readPaths, setStage, sleep } from './stage.ts';

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

for (const { how, readsInPlace } of readPaths) {
  t.test(`a patch is pushed and applied, or refused where it is not allowed (${how})`, async (t) => {
    const folder = await newFolder(t);
    const [base, target] = [join(folder, 'base.safetensors'), join(folder, 'target.safetensors')];
    await writeSafetensors(base, tensors(1));
    await writeSafetensors(target, tensors(2));
    const root = join(folder, 'models');
    await createModel(root, 'vision', base);
    const node = await startSyncNode({ root });
    t.teardown(() => node.close());
    const stage = await setStage(t, { readsInPlace, nodes: [`127.0.0.1:${node.port}`], routes: ROUTES });
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
    t.same(
      await readFile(join(root, 'vision', '1.safetensors')),
      await readFile(target),
      'the weights are equal bit for bit',
    );

    t.match(await refused({}), { message: /is not what the receiver has/ });
  });
}

/** The error with which a push ends. */
async function refusalOf(options: PushOptions): Promise<TransferError> {
  const error = await pushPatch(options).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof TransferError) return error;
  throw new Error('the push was not refused', { cause: error });
}

for (const { how, readsInPlace } of readPaths) {
  t.test(`a patch that is cut or changed on its way leaves the version unchanged (${how})`, async (t) => {
    const folder = await newFolder(t);
    const [base, target] = [join(folder, 'base.safetensors'), join(folder, 'target.safetensors')];
    await writeSafetensors(base, tensors(1));
    await writeSafetensors(target, tensors(2));
    const root = join(folder, 'models');
    await createModel(root, 'vision', base);
    const node = await startSyncNode({ root });
    t.teardown(() => node.close());
    const stage = await setStage(t, { readsInPlace, nodes: [`127.0.0.1:${node.port}`], routes: ROUTES });
    const token = await stage.token();
    const versions = { modelId: 'vision', baseVersion: 0, targetVersion: 1, epoch: 1 };
    const patch = await patchModel(base, target, versions);
    const frames: Buffer[] = [];
    for await (const frame of patch.stream) frames.push(frame);
    await patch.close();
    const stream = Buffer.concat(frames);
    const head = (framing: string): string =>
      `PUT /v1/models/vision/patches/${patch.identity.streamId.toString('hex')} HTTP/1.1\r\nHost: ${HOST}\r\n` +
      `Authorization: Bearer ${token}\r\nContent-Type: ${WEIGHT_PATCH_TYPE}\r\n${framing}\r\n\r\n`;
    const send = async (framing: string, body: Buffer): Promise<string> => {
      const socket = await stage.connect();
      const request = Buffer.concat([Buffer.from(head(framing)), body]);
      const answer = await exchange(socket, request, (text) => text.endsWith('}\n'));
      socket.destroy();
      return answer;
    };

    const flipped = Buffer.from(stream);
    flipped[300] = (flipped[300] ?? 0) ^ 1;
    t.match(
      await send(`Content-Length: ${stream.length}`, flipped),
      /^HTTP\/1\.1 4\d\d [\s\S]*"fault":"[\s\S]*"frame":\d+,"offset":\d+/,
    );
    const short = stream.subarray(0, stream.length - 120);
    t.match(
      await send(`Content-Length: ${short.length}`, short),
      /^HTTP\/1\.1 422 [\s\S]*"fault":"truncated"/,
    );
    const long = Buffer.concat([stream, Buffer.from('x')]);
    t.match(await send(`Content-Length: ${long.length}`, long), /^HTTP\/1\.1 422 [\s\S]*"fault":"trailing"/);
    const gone = await stage.connect();
    gone.write(
      Buffer.concat([Buffer.from(head(`Content-Length: ${stream.length}`)), stream.subarray(0, 700)]),
    );
    await sleep(100);
    gone.destroy();

    t.match(await stage.log(4), [
      { 'denial.code': 'patch-invalid', cause: /^payload-crc in frame 2 at \d+$/ },
      { 'denial.code': 'patch-invalid' },
      { 'denial.code': 'patch-invalid' },
      { 'http.response.status_code': 499 },
    ]);
    t.same(await readFile(join(root, 'vision', '0.safetensors')), await readFile(base));
    const state = await fetch(`${node.url}/v1/models/vision`).then((response) => response.json());
    t.match(state, { version: 0 });
    t.match(
      await send(`Content-Length: ${stream.length}`, stream),
      /^HTTP\/1\.1 201 /,
      'the whole patch is accepted',
    );
  });
}
