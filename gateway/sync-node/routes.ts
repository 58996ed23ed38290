/** The paths of the sync node and what is done at each. */

import { createWriteStream } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { openSafetensors } from '../patch/safetensors.ts';
import { isModelId, isStreamId, type ModelStore } from './model-store.ts';
import { json, problem, type Reply } from './reply.ts';

type Params = Readonly<Record<string, string>>;

export interface NodeRoute {
  readonly methods: readonly string[];
  readonly path: RegExp;
  /** Nothing is answered where the caller is gone. */
  handle(store: ModelStore, request: IncomingMessage, params: Params): Promise<Reply | undefined>;
}

const PATCH_TYPE = 'application/vnd.patchgate.weight-patch';

export const routes: readonly NodeRoute[] = [
  {
    methods: ['GET', 'HEAD'],
    path: /^\/healthz$/,
    handle: async () => ({
      status: 200,
      fields: { 'Content-Type': 'text/plain' },
      body: Buffer.from('ok\n'),
    }),
  },
  { methods: ['GET', 'HEAD'], path: /^\/v1\/models\/(?<model>[^/]+)$/, handle: describeModel },
  { methods: ['GET', 'HEAD'], path: /^\/v1\/models\/(?<model>[^/]+)\/weights$/, handle: readWeights },
  {
    methods: ['POST'],
    path: /^\/v1\/models\/(?<model>[^/]+)\/versions\/(?<version>0|[1-9][0-9]{0,15})$/,
    handle: publish,
  },
  {
    methods: ['PUT'],
    path: /^\/v1\/models\/(?<model>[^/]+)\/patches\/(?<stream>[^/]+)$/,
    handle: receivePatch,
  },
  {
    methods: ['HEAD'],
    path: /^\/v1\/models\/(?<model>[^/]+)\/patches\/(?<stream>[^/]+)$/,
    handle: describeUpload,
  },
];

const noModel = (): Reply => problem(404, 'There is no such model.');

async function describeModel(store: ModelStore, _: IncomingMessage, { model = '' }: Params): Promise<Reply> {
  const state = isModelId(model) ? await store.state(model) : undefined;
  const current = state?.versions[state.version];
  if (state === undefined || current === undefined) return noModel();
  const file = await openSafetensors(store.weightsPath(model, state.version));
  const tensors = file.tensors.map(({ name, dtype, shape }) => ({ name, dtype, shape }));
  await file.close();
  const { version, published } = state;
  return json(200, { model_id: model, version, ...current, published, tensors });
}

async function readWeights(
  store: ModelStore,
  request: IncomingMessage,
  { model = '' }: Params,
): Promise<Reply> {
  const state = isModelId(model) ? await store.state(model) : undefined;
  const current = state?.versions[state.version];
  if (state === undefined || current === undefined) return noModel();
  const path = store.weightsPath(model, state.version);
  const { size } = await stat(path);
  const etag = `"${current.digest}"`;
  const fields = { 'Content-Type': 'application/octet-stream', 'Accept-Ranges': 'bytes', ETag: etag };
  const wanted = wantedRange(request, etag);
  const range = wanted === undefined ? undefined : readRange(wanted, size);
  if (range === 'unsatisfiable') {
    return problem(416, 'The range is outside the file.', {}, { 'Content-Range': `bytes */${size}` });
  }
  if (range === undefined) return { status: 200, fields, body: { path, from: 0, to: size } };
  const contentRange = `bytes ${range.from}-${range.to - 1}/${size}`;
  return { status: 206, fields: { ...fields, 'Content-Range': contentRange }, body: { path, ...range } };
}

/** The range to answer with: of GET alone, and not of a version that is gone (RFC 9110 §14.2, §13.1.5). */
function wantedRange({ method, headers }: IncomingMessage, etag: string): string | undefined {
  const condition = headers['if-range'];
  return method === 'GET' && (condition === undefined || condition === etag) ? headers.range : undefined;
}

/** A single byte range (RFC 9110 §14.1.2); anything else is served whole, as the RFC allows. */
function readRange(text: string, size: number): { from: number; to: number } | 'unsatisfiable' | undefined {
  const [, first = '', last = ''] = /^bytes=([0-9]{0,15})-([0-9]{0,15})$/.exec(text) ?? [];
  if (first === '' && last === '') return undefined;
  const from = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const to = first === '' || last === '' ? size : Math.min(size, Number(last) + 1);
  return from >= size || from >= to ? 'unsatisfiable' : { from, to };
}

async function publish(store: ModelStore, request: IncomingMessage, params: Params): Promise<Reply> {
  const { model = '', version = '' } = params;
  request.resume();
  if (!isModelId(model) || !(await store.publish(model, Number(version)))) {
    return problem(404, 'There is no such version.');
  }
  return json(200, { model_id: model, version: Number(version), published: true });
}

/** Gathers the stream on disk, then applies it: nothing of it counts before all of it is there and good. */
async function receivePatch(
  store: ModelStore,
  request: IncomingMessage,
  params: Params,
): Promise<Reply | undefined> {
  const { model = '', stream = '' } = params;
  if (!isModelId(model) || (await store.state(model)) === undefined) return noModel();
  if (!isStreamId(stream)) return problem(400, 'A stream id is 32 hexadecimal digits.');
  if (request.headers['content-type'] !== PATCH_TYPE) return problem(415, `A patch is ${PATCH_TYPE}.`);
  const upload = await store.beginUpload(model, stream);
  if (upload === undefined) return problem(409, 'This stream is being sent already.');
  try {
    return await gatherAndApply(store, request, model, stream, upload);
  } finally {
    store.endUpload(upload);
  }
}

async function gatherAndApply(
  store: ModelStore,
  request: IncomingMessage,
  model: string,
  stream: string,
  upload: string,
): Promise<Reply | undefined> {
  try {
    await pipeline(request, createWriteStream(upload));
  } catch {
    // The sender is gone, or the disk failed and the connection with it; what has come stays to be asked for.
    return undefined;
  }
  try {
    const { replayed, ...result } = await store.apply(model, stream, upload);
    return json(replayed ? 200 : 201, { model_id: model, ...result });
  } finally {
    await rm(upload, { force: true });
  }
}

/** How much of an interrupted upload is here. */
async function describeUpload(store: ModelStore, _: IncomingMessage, params: Params): Promise<Reply> {
  const { model = '', stream = '' } = params;
  if (!isModelId(model) || !isStreamId(stream) || (await store.state(model)) === undefined) return noModel();
  const size = await stat(store.uploadPath(model, stream)).then(
    (each) => each.size,
    () => undefined,
  );
  if (size === undefined) return problem(404, 'There is no unfinished upload of this stream.');
  return { status: 204, fields: { 'Upload-Offset': String(size) }, body: Buffer.alloc(0) };
}
