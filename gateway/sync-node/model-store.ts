/** Models on disk: a folder each, a file a version, a patch applied whole or not at all. */

import { createReadStream } from 'node:fs';
import { copyFile, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { applyPatch } from '../patch/apply.ts';
import { modelDigest } from '../patch/digest.ts';
import { type Frame, readPatch } from '../patch/read.ts';
import { openSafetensors, type SafetensorsFile } from '../patch/safetensors.ts';
import { type ModelState, readState, syncFolder, writeState } from './model-state.ts';

/** What a stream made of a model. */
export interface StreamResult {
  readonly version: number;
  readonly changed: number;
  /** Hexadecimal. */
  readonly digest: string;
  /** The stream had been applied before, and nothing changed now. */
  readonly replayed: boolean;
}

/** The stream is not the one its address names, or leads nowhere. */
export class WrongStreamError extends Error {}

const MODEL_ID = /^[a-z0-9_]{3,32}$/;
const STREAM_ID = /^[0-9a-f]{32}$/;
/** The latest versions are kept, and beside them the published ones. */
const KEPT_VERSIONS = 3;
/** Streams remembered, so that one sent again is recognised. */
const KEPT_STREAMS = 1000;

export function isModelId(text: string): boolean {
  return MODEL_ID.test(text);
}

export function isStreamId(text: string): boolean {
  return STREAM_ID.test(text);
}

/** Puts a model there as version 0. Throws where there is one already. */
export async function createModel(root: string, modelId: string, path: string): Promise<void> {
  if (!isModelId(modelId)) throw new Error(`${modelId} is no model id`);
  const folder = join(root, modelId);
  if ((await readState(folder)) !== undefined) throw new Error(`there is a model ${modelId} already`);
  await mkdir(folder, { recursive: true });
  await copyFile(path, join(folder, '0.safetensors'));
  const file = await open(join(folder, '0.safetensors'), 'r');
  await file.sync();
  await file.close();
  const described = await describe(join(folder, '0.safetensors'));
  await writeState(folder, { version: 0, versions: { 0: described }, published: [], streams: {} });
}

/** The models under one folder. Changes of a model happen one after another. */
export class ModelStore {
  readonly #root: string;
  readonly #queues = new Map<string, Promise<unknown>>();
  /** Uploads arriving now, by their path. */
  readonly #uploads = new Set<string>();

  constructor(root: string) {
    this.#root = root;
  }

  /** Removes what a crash left behind: files no state knows of, and uploads that ended half-way. */
  async sweep(): Promise<void> {
    await mkdir(this.#root, { recursive: true });
    for (const modelId of await readdir(this.#root)) {
      const folder = join(this.#root, modelId);
      const state = await readState(folder);
      if (state === undefined) continue;
      for (const name of await readdir(folder)) {
        const known = name === 'state.json' || state.versions[versionIn(name) ?? ''];
        if (!known) await rm(join(folder, name), { force: true, recursive: true });
      }
    }
  }

  state(modelId: string): Promise<ModelState | undefined> {
    return readState(this.#folder(modelId));
  }

  /** The file of a version the state names. */
  weightsPath(modelId: string, version: number): string {
    return join(this.#folder(modelId), `${version}.safetensors`);
  }

  /** Where an upload is gathered before it is looked at. */
  uploadPath(modelId: string, streamId: string): string {
    return join(this.#folder(modelId), 'uploads', streamId);
  }

  /** Takes the upload's path for one sender; nothing while another sends the same stream. Give it back. */
  async beginUpload(modelId: string, streamId: string): Promise<string | undefined> {
    const path = this.uploadPath(modelId, streamId);
    if (this.#uploads.has(path)) return undefined;
    this.#uploads.add(path);
    await mkdir(dirname(path), { recursive: true });
    return path;
  }

  endUpload(path: string): void {
    this.#uploads.delete(path);
  }

  /**
   * Applies an uploaded stream to the current version. Throws PatchFaultError, with the model as it was, for
   * a stream that is not good or has another base; WrongStreamError for one of another id.
   */
  apply(modelId: string, streamId: string, upload: string): Promise<StreamResult> {
    return this.#inTurn(modelId, async () => {
      const folder = this.#folder(modelId);
      const state = await readState(folder);
      if (state === undefined) throw new Error(`there is no model ${modelId}`);
      const before = state.streams[streamId];
      if (before !== undefined) return { ...before, replayed: true };
      return this.#applyTo(folder, state, modelId, streamId, upload);
    });
  }

  /** Pins a version; false where it is not there. */
  publish(modelId: string, version: number): Promise<boolean> {
    return this.#inTurn(modelId, async () => {
      const state = await this.state(modelId);
      if (state?.versions[version] === undefined) return false;
      const published = [...new Set([...state.published, version])];
      await writeState(this.#folder(modelId), { ...state, published });
      return true;
    });
  }

  async #applyTo(
    folder: string,
    state: ModelState,
    modelId: string,
    streamId: string,
    upload: string,
  ): Promise<StreamResult> {
    const made = join(folder, `${streamId}.new`);
    await rm(made, { force: true });
    const current = state.versions[state.version];
    const base = await openSafetensors(join(folder, `${state.version}.safetensors`));
    try {
      const applied = await applyPatch(base, ofStream(streamId, readPatch(createReadStream(upload))), made, {
        modelId,
        baseVersion: state.version,
        baseDigest: current && Buffer.from(current.digest, 'hex'),
      });
      const digest = applied.digest.toString('hex');
      const result = { version: applied.targetVersion, changed: applied.changed, digest };
      await rename(made, join(folder, `${result.version}.safetensors`));
      await syncFolder(folder);
      await this.#commit(folder, state, streamId, result, current?.parameters ?? 0);
      return { ...result, replayed: false };
    } finally {
      await base.close();
    }
  }

  /** The new state is the commit: before it the old version counts, after it the new one. */
  async #commit(
    folder: string,
    state: ModelState,
    streamId: string,
    result: Omit<StreamResult, 'replayed'>,
    parameters: number,
  ): Promise<void> {
    const versions: ModelState['versions'] = {
      ...state.versions,
      [result.version]: { digest: result.digest, parameters },
    };
    const latest = Object.keys(versions)
      .map(Number)
      .sort((a, b) => a - b)
      .slice(-KEPT_VERSIONS);
    const kept = new Set([...latest, ...state.published]);
    const doomed = Object.keys(versions).filter((key) => !kept.has(Number(key)));
    for (const key of doomed) delete versions[key];
    const streams = Object.entries({ ...state.streams, [streamId]: result }).slice(-KEPT_STREAMS);
    await writeState(folder, {
      version: result.version,
      versions,
      published: state.published,
      streams: Object.fromEntries(streams),
    });
    for (const key of doomed) await rm(join(folder, `${key}.safetensors`), { force: true });
  }

  #folder(modelId: string): string {
    if (!isModelId(modelId)) throw new Error(`${modelId} is no model id`);
    return join(this.#root, modelId);
  }

  #inTurn<T>(modelId: string, work: () => Promise<T>): Promise<T> {
    const before = this.#queues.get(modelId) ?? Promise.resolve();
    const turn = before.then(work, work);
    this.#queues.set(modelId, turn);
    return turn;
  }
}

async function describe(path: string): Promise<{ digest: string; parameters: number }> {
  const file = await openSafetensors(path);
  try {
    return { digest: (await modelDigest(file)).toString('hex'), parameters: parametersOf(file) };
  } finally {
    await file.close();
  }
}

function parametersOf(file: SafetensorsFile): number {
  return file.tensors.reduce((sum, { elementCount }) => sum + elementCount, 0);
}

function versionIn(name: string): string | undefined {
  return /^([0-9]+)\.safetensors$/.exec(name)?.[1];
}

async function* ofStream(streamId: string, frames: AsyncIterable<Frame>): AsyncGenerator<Frame> {
  for await (const frame of frames) {
    if (frame.header.type === 'open') {
      const { streamId: id, baseVersion, targetVersion } = frame.header;
      if (id.toString('hex') !== streamId) throw new WrongStreamError('The OPEN frame is of another stream.');
      if (targetVersion <= baseVersion)
        throw new WrongStreamError('The target version is not later than the base.');
    }
    yield frame;
  }
}
