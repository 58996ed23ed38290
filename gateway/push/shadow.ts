/** The shadow: a file that holds what the receiver has, so that a training loop always diffs against that. */

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

/** How precisely a change is sent. */
export interface Precision {
  /** Changes up to this size to what the receiver has are not sent; 0 is exact. */
  readonly threshold: number;
  /** An encoding with fewer bits; exact if absent. */
  readonly values?: ValueEncoding | undefined;
}

/** Whether the shadow is what the receiver has, is something else, or is missing. */
export type ShadowState = 'same' | 'other' | 'none';

/**
 * During a push, `.next` beside the file holds what the receiver will have once it answers 201. Diffing against the
 * previous step instead would lose every change below the threshold for good: 500 steps of 1e-6 would be 5e-4 off.
 */
export class Shadow {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** What the receiver will have if the current push succeeds. */
  get nextPath(): string {
    return `${this.path}.next`;
  }

  /** What the receiver has now, while the file still holds what it had before. */
  get receivedPath(): string {
    return `${this.path}.received`;
  }

  /** Compares the file with the receiver's digest. Also detects that a push succeeded whose answer was lost. */
  async state(digest: string): Promise<ShadowState> {
    if (await isInFolder(this.path))
      throw new TransferError(`${this.path} cannot be a shadow: expected a file, got a folder or an index`);
    if (await holds(this.path, digest)) return 'same';
    if (await holds(this.nextPath, digest)) {
      await this.advance();
      return 'same';
    }
    return (await exists(this.path)) ? 'other' : 'none';
  }

  /** Creates the shadow as a copy of a model. */
  async begin(path: string): Promise<void> {
    await copyAsOneFile(path, this.nextPath);
    await this.advance();
  }

  /** Called when the receiver has accepted the push: `.next` becomes the shadow. */
  async advance(): Promise<void> {
    await rename(this.nextPath, this.path);
    await rm(this.receivedPath, { force: true });
    await syncFolder(dirname(this.path));
  }

  /** Called when nothing was sent: removes `.next` and `.received`. */
  async drop(): Promise<void> {
    for (const path of [this.nextPath, this.receivedPath]) await rm(path, { force: true });
  }

  /**
   * Prepares the patch from the file to a target, and writes `.next`. An exact patch is made from a copy of the target,
   * which may then be trained on while it is sent; otherwise the target must not change. Throws what `patchModel` does.
   */
  async patchTo(targetPath: string, precision: Precision, options: ModelPatchOptions): Promise<ModelPatch> {
    if (precision.threshold === 0 && precision.values === undefined) {
      await copyAsOneFile(targetPath, this.nextPath);
      return patchModel(this.path, this.nextPath, options);
    }
    return this.#patchOn(this.path, targetPath, precision, options);
  }

  /**
   * Prepares the patch that applies to `.received` what changed from the file to the target: weights this trainer
   * changed get its values, whatever others made of them; all others stay as they were received.
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

/** Whether the model at a path has this digest; false if it is incomplete or missing. */
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
