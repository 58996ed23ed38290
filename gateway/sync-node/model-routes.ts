/** Answers requests for descriptions and files of models and their versions, and publishes versions. */

import { type FileHandle, open } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { WEIGHT_PATCH_TYPE } from '../patch/layout.ts';
import { openSafetensors } from '../patch/safetensors.ts';
import { isModelId } from './create-model.ts';
import type { ModelState, ModelVersion } from './model-state.ts';
import type { ModelStore } from './model-store.ts';
import type { NodeParts, Params } from './node-route.ts';
import { json, problem, type Reply } from './reply.ts';

export const noModel = (): Reply => problem(404, 'There is no such model.');
const noVersion = (): Reply => problem(404, 'There is no such version.');

/** The state of the model that a path names; undefined if there is none. */
export async function modelState(store: ModelStore, modelId: string): Promise<ModelState | undefined> {
  return isModelId(modelId) ? await store.state(modelId) : undefined;
}

/** Describes a model: its current version, its tensors, and the versions there are. */
export async function describeModel(
  { store }: NodeParts,
  _: IncomingMessage,
  { model = '' }: Params,
): Promise<Reply> {
  const state = await modelState(store, model);
  const current = state?.versions[state.version];
  if (state === undefined || current === undefined) return noModel();
  const file = await openSafetensors(store.weightsPath(model, state.version));
  const tensors = file.tensors.map(({ name, dtype, shape }) => ({ name, dtype, shape }));
  await file.close();
  const { version, published } = state;
  const versions = Object.keys(state.versions).map((number) => told(state, Number(number)));
  const { digest, parameters } = current;
  return json(200, { model_id: model, version, digest, parameters, published, versions, tensors });
}

export async function describeVersion(
  { store }: NodeParts,
  _: IncomingMessage,
  params: Params,
): Promise<Reply> {
  const { model = '' } = params;
  const state = await modelState(store, model);
  if (state === undefined) return noModel();
  const version = Number(params['version']);
  return state.versions[version] === undefined
    ? noVersion()
    : json(200, { model_id: model, ...told(state, version) });
}

/** Describes a version, with `base` and `patch_bytes` if the patch that made it is kept. */
function told({ versions, published }: ModelState, version: number) {
  const { digest, patch } = versions[version] ?? {};
  return {
    version,
    digest,
    published: published.includes(version),
    ...(patch && { base: patch.base, patch_bytes: patch.bytes }),
  };
}

export async function publishVersion(
  { store }: NodeParts,
  request: IncomingMessage,
  params: Params,
): Promise<Reply> {
  const { model = '' } = params;
  const version = Number(params['version']);
  request.resume();
  const described = isModelId(model) ? await store.publish(model, version) : undefined;
  if (described === undefined) return noVersion();
  return json(200, { model_id: model, version, digest: described.digest, published: true });
}

export function readWeights(parts: NodeParts, request: IncomingMessage, params: Params): Promise<Reply> {
  return readFileOf(parts, request, params, 'weights');
}

export function readPatchOf(parts: NodeParts, request: IncomingMessage, params: Params): Promise<Reply> {
  return readFileOf(parts, request, params, 'patch');
}

async function readFileOf(
  { store }: NodeParts,
  request: IncomingMessage,
  { model = '', version: asked }: Params,
  what: 'weights' | 'patch',
): Promise<Reply> {
  const state = await modelState(store, model);
  if (state === undefined) return noModel();
  const version = asked === undefined ? state.version : Number(asked);
  const described = state.versions[version];
  if (described === undefined) return noVersion();
  if (what === 'patch' && described.patch === undefined) return problem(404, 'No patch made this version.');
  const path = what === 'patch' ? store.patchPath(model, version) : store.weightsPath(model, version);
  const file = await open(path, 'r').catch(missing);
  // A version may be removed after its state was read and before its file is opened.
  return file === undefined ? noVersion() : partOf(file, request, fieldsOf(described, what));
}

function missing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}

function fieldsOf({ digest }: ModelVersion, what: 'weights' | 'patch'): Record<string, string> {
  return {
    'Content-Type': what === 'patch' ? WEIGHT_PATCH_TYPE : 'application/octet-stream',
    'Accept-Ranges': 'bytes',
    ETag: what === 'patch' ? `"${digest}.patch"` : `"${digest}"`,
  };
}

async function partOf(
  file: FileHandle,
  request: IncomingMessage,
  fields: Readonly<Record<string, string>>,
): Promise<Reply> {
  const { size } = await file.stat();
  const wanted = wantedRange(request, fields['ETag'] ?? '');
  const range = wanted === undefined ? undefined : readRange(wanted, size);
  if (range === 'unsatisfiable') {
    await file.close();
    return problem(416, 'The range is outside the file.', {}, { 'Content-Range': `bytes */${size}` });
  }
  if (range === undefined) return { status: 200, fields, body: { file, from: 0, to: size } };
  const contentRange = `bytes ${range.from}-${range.to - 1}/${size}`;
  return { status: 206, fields: { ...fields, 'Content-Range': contentRange }, body: { file, ...range } };
}

/** The range to answer with: only for GET, and only if `If-Range` names this content (RFC 9110 §14.2, §13.1.5). */
function wantedRange({ method, headers }: IncomingMessage, etag: string): string | undefined {
  const condition = headers['if-range'];
  return method === 'GET' && (condition === undefined || condition === etag) ? headers.range : undefined;
}

/** Reads a single byte range (RFC 9110 §14.1.2); undefined for anything else, which §14.2 allows to serve whole. */
function readRange(text: string, size: number): { from: number; to: number } | 'unsatisfiable' | undefined {
  const [, first = '', last = ''] = /^bytes=([0-9]{0,15})-([0-9]{0,15})$/.exec(text) ?? [];
  if (first === '' && last === '') return undefined;
  const from = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const to = first === '' || last === '' ? size : Math.min(size, Number(last) + 1);
  return from >= size || from >= to ? 'unsatisfiable' : { from, to };
}
