/** Applies a weight patch to a copy of its base: the copy becomes the target, bit for bit, or is removed. */

import { tensorFields } from './diff.ts';
import { modelDigest } from './digest.ts';
import { PatchFaultError, patchFault, type Violation, violation } from './fault.ts';
import type { EndHeader, OpenHeader, PatchHeader, TensorFields } from './format.ts';
import { decodeIndices, type Indices } from './index-encoding.ts';
import { MAX_WRITTEN_ELEMENTS, valueSizes } from './layout.ts';
import { ModelCopy } from './model-copy.ts';
import type { Frame } from './read.ts';
import type { SafetensorsFile, TensorEntry } from './safetensors.ts';
import { openModel } from './shards.ts';
import { type PatchExpectation, StreamRules } from './stream-rules.ts';
import { TensorWriter } from './tensor-writer.ts';

/** What the base is, and what the patch may make of it. */
export interface ApplyExpectation extends PatchExpectation {
  /** The version of the base. */
  readonly baseVersion: number;
  /** The digest of the base, if it is known already; otherwise it is computed. */
  readonly baseDigest?: Buffer | undefined;
}

/** The result of a patch. */
export interface AppliedPatch {
  readonly modelId: string;
  readonly targetVersion: number;
  /** Changed elements. */
  readonly changed: number;
  /** Digest of the new model, which is the one END announced. */
  readonly digest: Buffer;
}

/**
 * Copies `base` to `outPath`, which must not exist, and applies the frames to the copy: one file if the base is one,
 * else a folder with the same files and index. Checks all bounds again. Resolves once the copy is synced to disk and
 * its digest is END's. Removes `outPath` on any error, of the patch (PatchFaultError), of the disk or of the source. A
 * base that is not the one in OPEN is fault `base`.
 */
export async function applyPatch(
  base: SafetensorsFile,
  frames: AsyncIterable<Frame>,
  outPath: string,
  expectation: ApplyExpectation,
): Promise<AppliedPatch> {
  const application = new Application(base, outPath, expectation);
  try {
    let done: AppliedPatch | undefined;
    for await (const frame of frames) done = await application.take(frame);
    if (done !== undefined) return done;
    throw application.fault(violation('truncated', 'the stream ended before its END frame'));
  } catch (error) {
    await application.discard();
    throw error;
  } finally {
    await application.close();
  }
}

class Application {
  readonly #base: SafetensorsFile;
  readonly #entries: ReadonlyMap<string, TensorEntry>;
  readonly #path: string;
  readonly #expectation: ApplyExpectation;
  readonly #rules: StreamRules;
  readonly #seen = new Set<string>();
  #copy: ModelCopy | undefined;
  /** Memory for the indices of one frame. */
  readonly #room: Indices = new Float64Array(MAX_WRITTEN_ELEMENTS);
  #writer: TensorWriter | undefined;

  constructor(base: SafetensorsFile, path: string, expectation: ApplyExpectation) {
    this.#base = base;
    this.#entries = new Map(base.tensors.map((entry) => [entry.name, entry]));
    this.#path = path;
    this.#expectation = expectation;
    this.#rules = new StreamRules(expectation);
  }

  /** Takes the next frame; returns the result after END. */
  async take(frame: Frame): Promise<AppliedPatch | undefined> {
    const { header } = frame;
    if (this.#rules.ended) throw this.fault(violation('trailing', 'a frame follows END'));
    const place = { frame: this.#rules.frames, offset: this.#rules.bytes };
    const broken = this.#rules.admit(header, frame.headerBytes) ?? (await this.#apply(frame));
    if (broken !== undefined) throw new PatchFaultError(patchFault(broken, place.frame, place.offset));
    return header.type === 'end' ? this.#applied(header) : undefined;
  }

  /** A fault at the next frame. */
  fault(broken: Violation): PatchFaultError {
    return new PatchFaultError(patchFault(broken, this.#rules.frames, this.#rules.bytes));
  }

  async discard(): Promise<void> {
    await this.#copy?.discard();
  }

  async close(): Promise<void> {
    await this.#copy?.close();
  }

  async #apply({ header, payload }: Frame): Promise<Violation | undefined> {
    if (header.type === 'open') return this.#begin(header);
    if (header.type === 'tensor') return this.#select(header);
    if (header.type === 'patch') return this.#change(header, payload);
    return this.#finish(header);
  }

  async #begin(header: OpenHeader): Promise<Violation | undefined> {
    const { baseDigest } = this.#expectation;
    if (!header.baseDigest.equals(baseDigest ?? (await modelDigest(this.#base)))) {
      return violation('base', 'the patch is for a base with another digest');
    }
    this.#copy = await ModelCopy.create(this.#base, this.#path);
    return undefined;
  }

  async #select(tensor: TensorFields): Promise<Violation | undefined> {
    const entry = this.#entries.get(tensor.name);
    if (entry === undefined) return violation('tensor', `the model has no tensor ${tensor.name}`);
    const own = tensorFields(tensor.tensorId, entry);
    if (own.dtype !== tensor.dtype || (own.words ?? false) !== (tensor.words ?? false)) {
      return violation('tensor', `tensor ${tensor.name} has a different type in the model`);
    }
    if (own.shape.join() !== tensor.shape.join()) {
      return violation('tensor', `tensor ${tensor.name} has a different shape in the model`);
    }
    if (this.#seen.has(tensor.name)) return violation('overlap', `duplicate tensor ${tensor.name}`);
    this.#seen.add(tensor.name);
    await this.#writer?.flush();
    if (this.#copy !== undefined) this.#writer = new TensorWriter(this.#copy.handleOf(entry), entry, own);
    return undefined;
  }

  async #change(patch: PatchHeader, payload: Buffer): Promise<Violation | undefined> {
    const valueBytes = patch.count * valueSizes[patch.values];
    if (payload.length < valueBytes + patch.indexLength)
      return violation('bounds', 'the payload is too short');
    const indices = decodeIndices(
      patch,
      payload.subarray(valueBytes, valueBytes + patch.indexLength),
      this.#room,
    );
    if (!(indices instanceof Float64Array)) return indices;
    await this.#writer?.write({ indices, values: payload.subarray(0, valueBytes), form: patch });
    return undefined;
  }

  async #finish(end: EndHeader): Promise<Violation | undefined> {
    await this.#writer?.flush();
    await this.#copy?.sync();
    const made = await openModel(this.#copy?.path ?? this.#path);
    try {
      const digest = await modelDigest(made);
      return digest.equals(end.targetDigest)
        ? undefined
        : violation('digest', 'the patched model does not have the digest END announced');
    } finally {
      await made.close();
    }
  }

  #applied(end: EndHeader): AppliedPatch {
    const { modelId = '', targetVersion = 0 } = this.#rules.open ?? {};
    return { modelId, targetVersion, changed: end.totalChanged, digest: end.targetDigest };
  }
}
