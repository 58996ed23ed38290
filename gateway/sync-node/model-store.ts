/** Stores models on disk: one folder per model, one file per version. A patch is applied whole or not at all. */

import { createReadStream } from 'node:fs';
import { link, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { applyPatch } from '../patch/apply.ts';
import { PatchFaultError, patchFault, violation } from '../patch/fault.ts';
import type { OpenHeader } from '../patch/format.ts';
import { type Frame, readPatch } from '../patch/read.ts';
import { openSafetensors, syncFolder } from '../patch/safetensors.ts';
import { isModelId } from './create-model.ts';
import { type ModelState, readState, STATE_FILE, withVersion, writeState } from './model-state.ts';

/** The result of an applied stream. */
export interface StreamResult {
  readonly version: number;
  readonly changed: number;
  /** Hexadecimal. */
  readonly digest: string;
  /** Bytes of the stream. */
  readonly bytes: number;
}

/** The stream is not the one its path names, or its target version is not later than its base. */
export class WrongStreamError extends Error {}

/** The number of streams remembered per model, so that one sent again is recognised. */
const KEPT_STREAMS = 1000;
const UPLOADS_FOLDER = 'uploads';

/** The models in one folder. Changes of one model run one after another; models do not wait for each other. */
export class ModelStore {
  readonly #root: string;
  readonly #keep: number;
  readonly #queues = new Map<string, Promise<unknown>>();

  /** `keep` is the number of latest versions kept in addition to the published ones. */
  constructor(root: string, keep: number) {
    this.#root = root;
    this.#keep = keep;
  }

  /** Removes from every model what a crash left behind. Returns the ids of the models. */
  async sweep(): Promise<readonly string[]> {
    await mkdir(this.#root, { recursive: true });
    const models: string[] = [];
    for (const modelId of await readdir(this.#root)) {
      if (isModelId(modelId) && (await sweepModel(join(this.#root, modelId)))) models.push(modelId);
    }
    return models;
  }

  state(modelId: string): Promise<ModelState | undefined> {
    return readState(this.#folder(modelId));
  }

  /** The file of a version the state names. */
  weightsPath(modelId: string, version: number): string {
    return join(this.#folder(modelId), `${version}.safetensors`);
  }

  /** The stream that made a version. */
  patchPath(modelId: string, version: number): string {
    return join(this.#folder(modelId), `${version}.patch`);
  }

  /** Where streams are staged before they are applied. */
  uploadsFolder(modelId: string): string {
    return join(this.#folder(modelId), UPLOADS_FOLDER);
  }

  /**
   * Applies a stream that is complete on disk to the current version, and keeps it beside the result. Throws
   * PatchFaultError, with the model unchanged, if the stream is invalid or for another base. Returns undefined, with
   * the model unchanged, if the stream was applied before.
   */
  apply(modelId: string, streamId: string, path: string): Promise<StreamResult | undefined> {
    return this.#inTurn(modelId, async () => {
      const folder = this.#folder(modelId);
      const state = await readState(folder);
      if (state === undefined) throw new Error(`there is no model ${modelId}`);
      if (state.streams[streamId] !== undefined) return undefined;
      try {
        return await this.#applyTo(folder, state, { modelId, streamId, path });
      } catch (error) {
        await sweepModel(folder).catch(() => undefined);
        throw error;
      }
    });
  }

  /** Pins a version; idempotent. Returns its description, or undefined if there is no such version. */
  publish(modelId: string, version: number): Promise<ModelState['versions'][string] | undefined> {
    return this.#inTurn(modelId, async () => {
      const state = await this.state(modelId);
      const described = state?.versions[version];
      if (state === undefined || described === undefined) return undefined;
      if (!state.published.includes(version)) {
        const published = [...state.published, version];
        await writeState(this.#folder(modelId), { ...state, published });
      }
      return described;
    });
  }

  async #applyTo(
    folder: string,
    state: ModelState,
    {
      modelId,
      streamId,
      path,
    }: { readonly modelId: string; readonly streamId: string; readonly path: string },
  ): Promise<StreamResult> {
    const made = join(folder, `${streamId}.new`);
    await rm(made, { force: true });
    const current = state.versions[state.version];
    const base = await openSafetensors(join(folder, `${state.version}.safetensors`));
    let bytes = 0;
    try {
      const frames = counted(readPatch(createReadStream(path)), (frame) => {
        bytes += frame.headerBytes.length + frame.payload.length;
        if (frame.header.type === 'open') requireStream(frame.header, streamId);
      });
      const applied = await applyPatch(base, frames, made, {
        modelId,
        baseVersion: state.version,
        baseDigest: current && Buffer.from(current.digest, 'hex'),
      });
      const digest = applied.digest.toString('hex');
      const result = { version: applied.targetVersion, changed: applied.changed, digest, bytes };
      await rm(join(folder, `${result.version}.patch`), { force: true });
      await link(path, join(folder, `${result.version}.patch`));
      await rename(made, join(folder, `${result.version}.safetensors`));
      await syncFolder(folder);
      await this.#commit(folder, state, streamId, result);
      return result;
    } finally {
      await base.close();
    }
  }

  /** Writes the new state, which is the commit: before it the old version is current, after it the new one. */
  async #commit(folder: string, state: ModelState, streamId: string, result: StreamResult): Promise<void> {
    const { version, digest, bytes } = result;
    const parameters = state.versions[state.version]?.parameters ?? 0;
    const patch = { base: state.version, bytes };
    const next = withVersion(state, { version, digest, parameters, patch }, this.#keep);
    const streams = Object.entries({ ...state.streams, [streamId]: result }).slice(-KEPT_STREAMS);
    await writeState(folder, { ...next, streams: Object.fromEntries(streams) });
    // The version is committed; files that are no longer needed may stay until the next sweep.
    await sweepModel(folder).catch(() => undefined);
  }

  #folder(modelId: string): string {
    if (!isModelId(modelId)) throw new Error(`${modelId} is not a model id`);
    return join(this.#root, modelId);
  }

  #inTurn<T>(modelId: string, work: () => Promise<T>): Promise<T> {
    const before = this.#queues.get(modelId) ?? Promise.resolve();
    const turn = before.then(work, work);
    this.#queues.set(modelId, turn);
    return turn;
  }
}

/** Throws PatchFaultError unless OPEN names the current version and its digest as the base. */
export function requireBase(open: OpenHeader, state: ModelState): void {
  const digest = state.versions[state.version]?.digest;
  if (open.baseVersion === state.version && open.baseDigest.toString('hex') === digest) return;
  const detail =
    open.baseVersion === state.version
      ? 'the patch is for a base with another digest'
      : `the patch is for version ${open.baseVersion}, the model is at ${state.version}`;
  throw new PatchFaultError(patchFault(violation('base', detail), 0, 0));
}

/** Throws WrongStreamError unless OPEN has the id asked for and a target version later than its base. */
export function requireStream({ streamId, baseVersion, targetVersion }: OpenHeader, asked: string): void {
  if (streamId.toString('hex') !== asked)
    throw new WrongStreamError('The OPEN frame belongs to another stream.');
  if (targetVersion <= baseVersion)
    throw new WrongStreamError('The target version is not later than the base.');
}

/** Removes the files of a model that its state does not know; returns false if there is no model. */
async function sweepModel(folder: string): Promise<boolean> {
  const state = await readState(folder);
  if (state === undefined) return false;
  for (const name of await readdir(folder)) {
    const known = name === STATE_FILE || name === UPLOADS_FOLDER || state.versions[versionIn(name) ?? ''];
    if (!known) await rm(join(folder, name), { force: true, recursive: true });
  }
  return true;
}

function versionIn(name: string): string | undefined {
  return /^(0|[1-9][0-9]*)\.(?:safetensors|patch)$/.exec(name)?.[1];
}

async function* counted(
  frames: AsyncIterable<Frame>,
  onFrame: (frame: Frame) => void,
): AsyncGenerator<Frame> {
  for await (const frame of frames) {
    onFrame(frame);
    yield frame;
  }
}
