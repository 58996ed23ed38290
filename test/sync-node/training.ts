/** A small model that is trained: its versions, and the patches from one to the next. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeSafetensors } from '../../gateway/patch/safetensors.ts';
import { patchModel } from '../../gateway/patch/write.ts';
import {
  changeTensor,
  gather,
  type RandomTensor,
  randomTensor,
  type TensorPlan,
} from '../patch/random-model.ts';
import { SeededRandom } from '../patch/seeded-random.ts';

export const MODEL = 'bert_tiny';

/** A patch ready to be sent. */
export interface MadePatch {
  readonly streamId: string;
  readonly bytes: Buffer;
  readonly changed: number;
  /** The digest of the model it makes, in hexadecimal. */
  readonly digest: string;
}

/** Versions of one model on disk; each `train` makes new weights from earlier ones. */
export class Training {
  readonly #folder: string;
  readonly #random: SeededRandom;
  readonly #versions: RandomTensor[][] = [];

  private constructor(folder: string, random: SeededRandom, first: RandomTensor[]) {
    this.#folder = folder;
    this.#random = random;
    this.#versions.push(first);
  }

  static async begin(folder: string, seed: number, plans: readonly TensorPlan[]): Promise<Training> {
    const random = new SeededRandom(seed);
    const first = plans.map((plan) => randomTensor(random, plan));
    const training = new Training(folder, random, first);
    await writeSafetensors(training.pathOf(0), first);
    return training;
  }

  /** The file with the weights of the nth training; 0 is the first. */
  pathOf(weights: number): string {
    return join(this.#folder, `weights-${weights}.safetensors`);
  }

  /** The tensors of the nth training. */
  tensors(weights: number): readonly RandomTensor[] {
    return this.#versions[weights] ?? [];
  }

  read(weights: number): Promise<Buffer> {
    return readFile(this.pathOf(weights));
  }

  /** Trains on from the given weights, by default the latest, and returns the number of the new ones. */
  async train(from = this.#versions.length - 1): Promise<number> {
    const next = (this.#versions[from] ?? []).map((each) => changeTensor(this.#random, each, 'runs'));
    this.#versions.push(next);
    const weights = this.#versions.length - 1;
    await writeSafetensors(this.pathOf(weights), next);
    return weights;
  }

  /** The patch between two sets of weights; versions are their numbers unless given. */
  async patch(
    from: number,
    to: number,
    baseVersion = from,
    targetVersion = baseVersion + 1,
    streamIdBytes?: Buffer,
    modelId = MODEL,
    epoch = 1,
  ): Promise<MadePatch> {
    const given = streamIdBytes === undefined ? {} : { streamId: streamIdBytes };
    const options = { modelId, baseVersion, targetVersion, epoch, ...given };
    const patch = await patchModel(this.pathOf(from), this.pathOf(to), options);
    const bytes = await gather(patch.stream);
    await patch.close();
    const { streamId, targetDigest } = patch.identity;
    return {
      streamId: streamId.toString('hex'),
      bytes,
      changed: patch.changed,
      digest: targetDigest.toString('hex'),
    };
  }
}
