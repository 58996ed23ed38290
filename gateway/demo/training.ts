/** The training run of the demo: each epoch's weights become a patch that crosses the gateway. */

import { join } from 'node:path';
import { writeSafetensors } from '../patch/safetensors.ts';
import { type PushResult, pushPatch } from '../push/push.ts';
import { type Document, writeCorpus } from './corpus.ts';
import { Network, type NetworkShape } from './network.ts';
import { createRandom } from './random.ts';
import { MODEL, type Stack } from './stack.ts';

export const EPOCHS = 5;
const SEED = 7;
const SHAPE: NetworkShape = { vocabulary: 40_000, embedding: 16, hidden: 24, topics: 4 };
const TRAINING_DOCUMENTS = 300;
const HELD_OUT_DOCUMENTS = 400;
const WORDS_PER_DOCUMENT = 30;
const LEARNING_RATE = 0.2;

export interface EpochReport {
  readonly epoch: number;
  /** Mean cross-entropy over the training documents, in nats. */
  readonly loss: number;
  /** Share of held-out documents that are classified correctly. */
  readonly accuracy: number;
  readonly push: PushResult;
}

/** A network, the documents it learns from, and its weights on disk after each epoch. */
export class Trainer {
  readonly #folder: string;
  readonly #network: Network;
  readonly #documents: readonly Document[];
  readonly #heldOut: readonly Document[];
  #epoch = 0;

  constructor(folder: string) {
    const random = createRandom(SEED);
    const corpus = {
      wordsPerDocument: WORDS_PER_DOCUMENT,
      vocabulary: SHAPE.vocabulary,
      topics: SHAPE.topics,
    };
    this.#folder = folder;
    this.#documents = writeCorpus(random, { ...corpus, documents: TRAINING_DOCUMENTS });
    this.#heldOut = writeCorpus(random, { ...corpus, documents: HELD_OUT_DOCUMENTS });
    this.#network = new Network(SHAPE, random);
  }

  /** File of the weights after the last epoch. */
  get weightsPath(): string {
    return this.#pathOf(this.#epoch);
  }

  save(): Promise<void> {
    return writeSafetensors(this.weightsPath, this.#network.tensors());
  }

  /** Trains one epoch and saves it. Resolves to the loss. */
  async trainEpoch(): Promise<number> {
    const loss = this.#network.trainEpoch(this.#documents, LEARNING_RATE);
    this.#epoch += 1;
    await this.save();
    return loss;
  }

  /** Trains one epoch, saves it, and pushes what changed. Rejects with `TransferError`. */
  async runEpoch(stack: Stack, token: string): Promise<EpochReport> {
    const basePath = this.weightsPath;
    const loss = await this.trainEpoch();
    const push = await pushPatch({
      ...(await stack.addressOf('tenant-a')),
      token,
      modelId: MODEL,
      basePath,
      shadowPath: join(this.#folder, 'receiver.safetensors'),
      targetPath: this.weightsPath,
      epoch: this.#epoch,
    });
    return { epoch: this.#epoch, loss, accuracy: this.#network.accuracy(this.#heldOut), push };
  }

  #pathOf(epoch: number): string {
    return join(this.#folder, `epoch-${epoch}.safetensors`);
  }
}
