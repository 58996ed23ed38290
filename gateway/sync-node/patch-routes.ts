/** Receives weight patches: stages them on disk frame by frame, resumes them after a cut, applies them after END. */

import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { PatchFaultError } from '../patch/fault.ts';
import type { OpenHeader } from '../patch/format.ts';
import { WEIGHT_PATCH_TYPE } from '../patch/layout.ts';
import { modelState, noModel } from './model-routes.ts';
import type { ModelState } from './model-state.ts';
import { requireBase, requireStream, type StreamResult, WrongStreamError } from './model-store.ts';
import type { NodeParts, Params } from './node-route.ts';
import { empty, json, problem, type Reply } from './reply.ts';
import { bodyChunks, endWhenQuiet, SenderGoneError } from './request-body.ts';
import {
  beginStaged,
  isSameStream,
  OtherStreamError,
  readStaged,
  removeStaged,
  type Staged,
  stage,
} from './staged-upload.ts';
import {
  INCONSISTENT_LENGTH,
  isAdmittedFor,
  MISMATCHING_OFFSET,
  ownerOf,
  uploadFields,
  uploadOffset,
} from './upload-fields.ts';
import { MAX_AGE_S } from './uploads.ts';

const STREAM_ID = /^[0-9a-f]{32}$/;
const DONE = { 'Upload-Complete': '?1' };

/** One request that carries a stream, or the rest of one. */
interface Delivery {
  readonly model: string;
  readonly stream: string;
  /** Where its frames are staged. */
  readonly path: string;
  readonly owner: string;
  /** Where in the stream its body begins. */
  readonly offset: number;
  readonly request: IncomingMessage;
}

/** Answers 201 with the result of the stream, 200 if it was applied before, and nothing if the sender is gone. */
export async function receivePatch(
  parts: NodeParts,
  request: IncomingMessage,
  params: Params,
): Promise<Reply | undefined> {
  const { model = '', stream = '' } = params;
  const { headers, method } = request;
  if ((await modelState(parts.store, model)) === undefined) return noModel();
  if (!STREAM_ID.test(stream)) return problem(400, 'A stream id is 32 hexadecimal digits.');
  if (headers['content-type'] !== WEIGHT_PATCH_TYPE)
    return problem(415, `The content type of a patch is ${WEIGHT_PATCH_TYPE}.`);
  if (!isAdmittedFor(headers, model)) return problem(403, 'The request was admitted for another model.');
  const offset = uploadOffset(headers);
  if (offset === undefined || (method === 'PATCH' && headers['upload-offset'] === undefined)) {
    return problem(400, 'Upload-Offset is missing or not a decimal number.');
  }
  const path = join(parts.store.uploadsFolder(model), stream);
  const owner = ownerOf(headers);
  const release = await parts.uploads.take(path, owner, () => endWhenQuiet(request));
  if (release === undefined) return problem(409, 'Somebody else is sending this stream.');
  try {
    return await take(parts, { model, stream, path, owner, offset, request });
  } finally {
    release();
  }
}

async function take(parts: NodeParts, delivery: Delivery): Promise<Reply | undefined> {
  const state = await modelState(parts.store, delivery.model);
  if (state === undefined) return noModel();
  try {
    const applied = state.streams[delivery.stream];
    if (applied !== undefined) return await repeat(delivery, applied);
    return await gather(parts, delivery, state);
  } catch (error) {
    if (error instanceof SenderGoneError) return undefined;
    if (error instanceof OtherStreamError) {
      return problem(
        409,
        'The body does not begin with the OPEN and TENSOR frames of the unfinished upload.',
      );
    }
    if (!(error instanceof PatchFaultError || error instanceof WrongStreamError)) throw error;
    await removeStaged(delivery.path);
    return refusal(error, (await modelState(parts.store, delivery.model)) ?? state);
  }
}

async function gather(parts: NodeParts, delivery: Delivery, state: ModelState): Promise<Reply> {
  const { model, stream, path, owner, offset, request } = delivery;
  if (offset === 0) {
    const isApplied = (streamId: string): boolean => state.streams[streamId] !== undefined;
    await parts.uploads.tidy(parts.store.uploadsFolder(model), isApplied, Date.now());
    const length = contentLength(request);
    await beginStaged(path, { owner, ...(length !== undefined && { length }) });
  }
  const staged = await readStaged(path);
  const unfit = staged === undefined ? noUpload() : unfitting(staged, delivery);
  if (staged === undefined || unfit !== undefined) return unfit ?? noUpload();
  await stage(path, staged, bodyChunks(request), { modelId: model }, (open) => {
    requireStream(open, stream);
    requireBase(open, state);
  });
  const made = await parts.store.apply(model, stream, path);
  // The version is committed; if the upload cannot be removed now, `tidy` removes it later.
  await removeStaged(path).catch(() => undefined);
  const result = made ?? (await parts.store.state(model))?.streams[stream];
  return result === undefined ? noUpload() : receipt(made === undefined ? 200 : 201, model, result);
}

/** The refusal of a body that does not continue what is staged; undefined if it does. */
function unfitting(staged: Staged, { owner, offset, request }: Delivery): Reply | undefined {
  if (staged.owner !== owner) return problem(403, 'Somebody else began this upload.');
  if (staged.offset !== offset) {
    const more = { type: MISMATCHING_OFFSET, 'expected-offset': staged.offset, 'provided-offset': offset };
    const fields = uploadFields({ offset: staged.offset, complete: false });
    return problem(409, `The stream resumes at ${staged.offset}, not at ${offset}.`, more, fields);
  }
  const length = contentLength(request);
  if (offset === 0 || length === undefined || staged.length === undefined) return undefined;
  const whole = offset + length - staged.prologue.length;
  return whole === staged.length
    ? undefined
    : problem(400, `The stream was announced with ${staged.length} bytes, not ${whole}.`, {
        type: INCONSISTENT_LENGTH,
      });
}

/** Answers a stream that was applied before, whole or resumed, without a change; refuses another with its id. */
async function repeat({ model, stream, offset, request }: Delivery, applied: StreamResult): Promise<Reply> {
  const expectation = { modelId: model, ...(offset > 0 && { resumeAt: offset }) };
  const onOpen = (open: OpenHeader): void => requireStream(open, stream);
  const body = bodyChunks(request);
  return (await isSameStream(body, expectation, applied.digest, onOpen))
    ? receipt(200, model, applied)
    : problem(409, 'Another stream with this id was applied.', {}, DONE);
}

/** Answers how much of a stream is staged. The reported bytes are on disk, and nobody is sending more. */
export async function describeUpload(
  { store, uploads }: NodeParts,
  { headers }: IncomingMessage,
  { model = '', stream = '' }: Params,
): Promise<Reply> {
  const state = await modelState(store, model);
  if (state === undefined || !STREAM_ID.test(stream)) return noModel();
  const path = join(store.uploadsFolder(model), stream);
  const owner = ownerOf(headers);
  const release = await uploads.take(path, owner, () => undefined);
  if (release === undefined) return problem(403, 'Somebody else is sending this stream.');
  try {
    const applied = (await modelState(store, model))?.streams[stream];
    if (applied !== undefined) {
      return empty(204, uploadFields({ offset: applied.bytes, complete: true, length: applied.bytes }));
    }
    const staged = await readStaged(path);
    if (staged === undefined) return noUpload();
    if (staged.owner !== owner) return problem(403, 'Somebody else began this upload.');
    const { offset, length } = staged;
    return empty(204, uploadFields({ offset, complete: false, length, maxAgeS: MAX_AGE_S }));
  } finally {
    release();
  }
}

const noUpload = (): Reply => problem(404, 'There is no unfinished upload of this stream.');

function receipt(status: number, model: string, { version, changed, digest }: StreamResult): Reply {
  return json(status, { model_id: model, version, changed, digest }, DONE);
}

/** The sender must fix an invalid stream; for a stale base, the refusal carries what the model has now. */
function refusal(error: PatchFaultError | WrongStreamError, state: ModelState): Reply {
  if (error instanceof WrongStreamError) return problem(400, error.message);
  const { rule, status, detail, frame, offset } = error.fault;
  const { version, versions } = state;
  const has = rule === 'base' ? { version, digest: versions[version]?.digest ?? '' } : {};
  return problem(status, detail, { fault: rule, frame, offset, ...has });
}

function contentLength({ headers }: IncomingMessage): number | undefined {
  const text = headers['content-length'];
  return text === undefined ? undefined : Number(text);
}
