/** The shadow: a file that holds what the receiver has, so that a training loop diffs against nothing else. */

import { access, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { diffModels } from '../patch/diff.ts';
import { modelFileDigest, patchOfChanges } from '../patch/given-changes.ts';
import type { ValueEncoding } from '../patch/layout.ts';
import { copyAsOneFile } from '../patch/one-file.ts';
import { roundChanges } from '../patch/round.ts';
import { SafetensorsError, syncFolder } from '../patch/safetensors.ts';
import { isInFolder, openModel } from '../patch/shards.ts';
import { type ModelPatch, type ModelPatchOptions, patchModel } from '../patch/write.ts';
import { TransferError } from './transfer-error.ts';

/** How much of a change is sent. */
export interface Precision {
  /** Weights that are no further than this from what the receiver has are not sent; 0 is exact. */
  readonly threshold: number;
  /** Values in fewer bits; absent is exact. */
  readonly values?: ValueEncoding | undefined;
}

/** What the shadow is to the receiver. */
export type ShadowState = 'same' | 'other' | 'none';

/**
 * Beside the file stands `.next` while a push is under way: what the receiver has once it says 201. Diffing against the
 * step before instead would lose for good each change below the threshold: 500 steps of 1e-6 would be 5e-4 off.
 */
export class Shadow {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** What the receiver has when the push under way succeeds. */
  get nextPath(): string {
    return `${this.path}.next`;
  }

  /** A place for what the receiver has while the file still holds what it had. */
  get receivedPath(): string {
    return `${this.path}.received`;
  }

  /** Holds the file against the receiver's digest. A push whose answer was lost is found to have succeeded here. */
  async state(digest: string): Promise<ShadowState> {
    if (await isInFolder(this.path))
      throw new TransferError(`${this.path} cannot be a shadow: it is one file`);
    if (await holds(this.path, digest)) return 'same';
    if (await holds(this.nextPath, digest)) {
      await this.advance();
      return 'same';
    }
    return (await exists(this.path)) ? 'other' : 'none';
  }

  /** Begins with a copy of a model. */
  async begin(path: string): Promise<void> {
    await copyAsOneFile(path, this.nextPath);
    await this.advance();
  }

  /** The receiver has said 201: `.next` is what it has. */
  async advance(): Promise<void> {
    await rename(this.nextPath, this.path);
    await rm(this.receivedPath, { force: true });
    await syncFolder(dirname(this.path));
  }

  /** Nothing was sent: `.next` is nobody's. */
  async drop(): Promise<void> {
    for (const path of [this.nextPath, this.receivedPath]) await rm(path, { force: true });
  }

  /**
   * The patch from the file to a target, with `.next` beside it. An exact one is made of a copy of the target, which may
   * then be trained on while it is sent; for another the target must stay as it is. Throws what `patchModel` throws.
   */
  async patchTo(targetPath: string, precision: Precision, options: ModelPatchOptions): Promise<ModelPatch> {
    if (precision.threshold === 0 && precision.values === undefined) {
      await copyAsOneFile(targetPath, this.nextPath);
      return patchModel(this.path, this.nextPath, options);
    }
    return this.#patchOn(this.path, targetPath, precision, options);
  }

  /**
   * The patch that does to `.received` what leads from the file to the target: weights this trainer changed are its own
   * whatever others made of them, all others stay as they were received.
   */
  rebasedTo(targetPath: string, precision: Precision, options: ModelPatchOptions): Promise<ModelPatch> {
    return this.#patchOn(this.receivedPath, targetPath, precision, options);
  }

  async #patchOn(
    receiverPath: string,
    targetPath: string,
    { threshold, values }: Precision,
    options: ModelPatchOptions,
  ): Promise<ModelPatch> {
    const files = await openAll([receiverPath, this.path, targetPath]);
    const [receiver, before, target] = files;
    const close = async (): Promise<void> => {
      for (const file of files) await file.close();
    };
    if (receiver === undefined || before === undefined || target === undefined) throw new Error('not opened');
    const changes = () => {
      const exact = diffModels(before, target, { threshold });
      return values === undefined ? exact : roundChanges(receiver, exact, values);
    };
    try {
      const given = { base: receiver, changes, resultPath: this.nextPath, threshold };
      return { ...(await patchOfChanges(given, options)), close };
    } catch (error) {
      await close();
      throw error;
    }
  }
}

async function openAll(paths: readonly string[]) {
  const opened = await Promise.allSettled(paths.map(openModel));
  const files = opened.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  const failed = opened.find((each) => each.status === 'rejected');
  if (failed === undefined) return files;
  for (const file of files) await file.close();
  throw failed.reason;
}

/** A file that is torn or not there holds nothing. */
async function holds(path: string, digest: string): Promise<boolean> {
  try {
    return (await modelFileDigest(path)).toString('hex') === digest;
  } catch (error) {
    if (error instanceof SafetensorsError) return false;
    throw error;
  }
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
