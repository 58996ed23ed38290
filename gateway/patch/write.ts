/** Turns changes into the frames of a weight patch, and two model files into a patch of known size. */

import { createHash } from 'node:crypto';
import { HeaderChain } from './chain.ts';
import { diffModels, type TensorChange, tensorFields } from './diff.ts';
import { modelDigest } from './digest.ts';
import {
  encodeEnd,
  encodeOpen,
  encodePatch,
  encodeTensor,
  type FramePlace,
  type OpenFields,
  type TensorFields,
} from './format.ts';
import { encodeIndices, GAP_LIMIT, type Indices, indexSizes, smallest } from './index-encoding.ts';
import {
  END_LENGTH,
  type IndexEncoding,
  MAX_WRITTEN_ELEMENTS,
  MAX_WRITTEN_PAYLOAD,
  padded,
  valueSizes,
} from './layout.ts';
import type { SafetensorsFile } from './safetensors.ts';
import { openModel } from './shards.ts';

/** What a patch says about itself in OPEN and END. */
export interface PatchIdentity extends Omit<OpenFields, 'maxPayload'> {
  /** Digest of the model the patch makes, for END. */
  readonly targetDigest: Buffer;
}

/** The changes are not those the identity announced, so the stream would be refused. */
export class PatchWriteError extends Error {
  override readonly name = 'PatchWriteError';
}

export type Changes = AsyncIterable<TensorChange> | Iterable<TensorChange>;

/**
 * Yields the frames of a patch, each as one Buffer of header and payload: at most 64 Ki elements and 256 KiB of
 * payload. Changes must come tensor by tensor, in ascending order of their ids. Throws PatchWriteError instead of
 * yielding END if `tensorCount`, or a `totalChanged` other than 0, is not what was written.
 */
export async function* writePatch(identity: PatchIdentity, changes: Changes): AsyncGenerator<Buffer> {
  const writer = new FrameWriter();
  yield writer.open(identity);
  yield* writeChanges(writer, changes);
  const { tensors, changed } = writer;
  if (identity.tensorCount !== tensors || ![0, changed].includes(identity.totalChanged)) {
    throw new PatchWriteError(
      `announced ${identity.totalChanged} changes in ${identity.tensorCount} tensors, wrote ${changed} in ${tensors}`,
    );
  }
  yield writer.end(identity.targetDigest);
}

async function* writeChanges(writer: FrameWriter, changes: Changes): AsyncGenerator<Buffer> {
  let current: number | undefined;
  for await (const change of changes) {
    if (change.tensor.tensorId !== current) yield writer.tensor(change.tensor);
    current = change.tensor.tensorId;
    for (let from = 0; from < change.indices.length; ) {
      const part = nextPart(change, from);
      yield writer.patch(change, part);
      from = part.to;
    }
  }
}

/** The elements of a change that make one frame. */
interface Part {
  readonly from: number;
  readonly to: number;
  readonly encoding: IndexEncoding;
}

/** Takes as many elements as fit into one frame, in their smallest encoding. */
function nextPart({ indices, encoding: values }: TensorChange, from: number): Part {
  let to = Math.min(from + MAX_WRITTEN_ELEMENTS, indices.length);
  to = beforeWideGap(indices, from, to);
  for (;;) {
    const count = to - from;
    const sizes = indexSizes(indices.subarray(from, to));
    const encoding = smallest(sizes);
    const bytes = padded(count * valueSizes[values] + sizes[encoding]);
    if (bytes <= MAX_WRITTEN_PAYLOAD) return { from, to, encoding };
    to = from + Math.floor((count * MAX_WRITTEN_PAYLOAD) / bytes);
  }
}

/** The end of the elements before the first gap that no varint holds; `to` if there is none. */
function beforeWideGap(indices: Indices, from: number, to: number): number {
  if ((indices[to - 1] ?? 0) - (indices[from] ?? 0) < GAP_LIMIT) return to;
  for (let k = from + 1; k < to; k++) {
    if ((indices[k] as number) - (indices[k - 1] as number) > GAP_LIMIT) return k;
  }
  return to;
}

/** Numbers and chains the frames of one stream, and counts what is in them. */
class FrameWriter {
  readonly #chain = new HeaderChain();
  #sequence = 0;
  #bytes = 0;
  #tensors = 0;
  #changed = 0;

  get tensors(): number {
    return this.#tensors;
  }

  get changed(): number {
    return this.#changed;
  }

  /** Bytes of all frames so far. */
  get bytes(): number {
    return this.#bytes;
  }

  open(identity: PatchIdentity): Buffer {
    return this.#add(encodeOpen({ ...identity, maxPayload: MAX_WRITTEN_PAYLOAD }, this.#place()));
  }

  tensor(tensor: TensorFields): Buffer {
    this.#tensors += 1;
    return this.#add(encodeTensor(tensor, this.#place()));
  }

  patch(change: TensorChange, { from, to, encoding }: Part): Buffer {
    const indices = change.indices.subarray(from, to);
    const size = valueSizes[change.encoding];
    const encoded = encodeIndices(encoding, indices);
    const valueBytes = indices.length * size;
    const payload = Buffer.alloc(padded(valueBytes + encoded.length));
    change.values.copy(payload, 0, from * size, to * size);
    encoded.copy(payload, valueBytes);
    const fields = {
      tensorId: change.tensor.tensorId,
      count: indices.length,
      firstIndex: indices[0] ?? 0,
      lastIndex: indices.at(-1) ?? 0,
      operation: change.operation ?? 'set',
      indices: encoding,
      values: change.encoding,
      indexLength: encoded.length,
      scale: change.scale ?? (change.encoding === 'i8' ? 1 : 0),
    } as const;
    this.#changed += indices.length;
    return this.#add(encodePatch(fields, payload, this.#place()), payload);
  }

  end(targetDigest: Buffer): Buffer {
    return encodeEnd(
      {
        frameCount: this.#sequence + 1,
        tensorCount: this.#tensors,
        totalChanged: this.#changed,
        totalBytes: this.#bytes + END_LENGTH,
        chain: this.#chain.digest(),
        targetDigest,
      },
      this.#place(),
    );
  }

  #place(): FramePlace {
    return { sequence: this.#sequence, streamOffset: this.#bytes };
  }

  #add(header: Buffer, payload?: Buffer): Buffer {
    this.#chain.link(header);
    const frame = payload === undefined ? header : Buffer.concat([header, payload]);
    this.#sequence += 1;
    this.#bytes += frame.length;
    return frame;
  }
}

/** What identifies a patch between two models. */
export interface ModelPatchOptions {
  readonly modelId: string;
  readonly baseVersion: number;
  readonly targetVersion: number;
  readonly epoch: number;
  /** 16 bytes; if absent, derived from the digests and the other members, so the same patch has the same id. */
  readonly streamId?: Buffer;
}

/** A patch that is ready to be sent. */
export interface ModelPatch {
  readonly identity: PatchIdentity;
  /** Bytes of the whole stream. */
  readonly bytes: number;
  /** Changed elements. */
  readonly changed: number;
  /** Bytes of the target's files: the cost of sending it whole. */
  readonly modelBytes: number;
  /** The frames; every iteration starts over, so a patch can be sent again. */
  readonly stream: AsyncIterable<Buffer>;
  /** Closes the models' files. */
  close(): Promise<void>;
}

/**
 * Prepares the exact patch from one model to another; either may be one file or several (see `openModel`). Reads both
 * twice now (digests, comparison) and once more each time `stream` is iterated: constant memory, no temporary file, and
 * the exact size in advance. If a file changes in between, the stream ends with PatchWriteError before END if its
 * counts changed; otherwise the digest in END is not that of the result. Throws ModelDiffError, SafetensorsError.
 */
export async function patchModel(
  basePath: string,
  targetPath: string,
  options: ModelPatchOptions,
): Promise<ModelPatch> {
  const base = await openModel(basePath);
  const target = await openModel(targetPath).catch(closing(base));
  const close = async () => {
    await Promise.all([base.close(), target.close()]);
  };
  try {
    const digests = { baseDigest: await modelDigest(base), targetDigest: await modelDigest(target) };
    const { bytes, identity } = await measurePatch(base, diffModels(base, target), digests, options);
    const stream = {
      [Symbol.asyncIterator]: () => writePatch(identity, diffModels(base, target)),
    };
    return { identity, bytes, changed: identity.totalChanged, modelBytes: target.sizeBytes, stream, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Closes the file, then rethrows the error. */
function closing(file: SafetensorsFile): (error: unknown) => Promise<never> {
  return async (error) => {
    await file.close();
    throw error;
  };
}

/** Digests of the models before and after a patch. */
export interface PatchDigests {
  readonly baseDigest: Buffer;
  readonly targetDigest: Buffer;
}

/** Runs the writer once and drops its frames, to learn the counts and the size of the patch. */
export async function measurePatch(
  base: SafetensorsFile,
  changes: Changes,
  digests: PatchDigests,
  options: ModelPatchOptions & { readonly threshold?: number },
): Promise<{ readonly identity: PatchIdentity; readonly bytes: number }> {
  const totalParams = base.tensors.reduce((sum, entry) => sum + tensorFields(0, entry).elementCount, 0);
  const provisional: PatchIdentity = {
    threshold: 0,
    ...options,
    ...digests,
    streamId: options.streamId ?? streamIdOf(options, digests),
    tensorCount: 0,
    totalParams,
    totalChanged: 0,
  };
  const writer = new FrameWriter();
  writer.open(provisional);
  for await (const _frame of writeChanges(writer, changes)) {
    // Only the writer's counts are needed.
  }
  const identity = { ...provisional, tensorCount: writer.tensors, totalChanged: writer.changed };
  return { identity, bytes: writer.bytes + END_LENGTH };
}

function streamIdOf(options: ModelPatchOptions, digests: PatchDigests): Buffer {
  const { modelId, baseVersion, targetVersion, epoch } = options;
  const hash = createHash('sha256').update(digests.baseDigest).update(digests.targetDigest);
  hash.update(JSON.stringify([modelId, baseVersion, targetVersion, epoch]));
  return hash.digest().subarray(0, 16);
}
