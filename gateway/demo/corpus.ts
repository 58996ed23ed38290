/** Generates documents to learn from: as in real texts, a few words are frequent and most are rare. */

import type { Random } from './random.ts';

export interface Document {
  /** Word numbers, below the size of the vocabulary. */
  readonly words: readonly number[];
  /** Topic number, which the network learns to predict from the words. */
  readonly topic: number;
}

export interface CorpusOptions {
  readonly documents: number;
  readonly wordsPerDocument: number;
  readonly vocabulary: number;
  readonly topics: number;
}

/** Share of a document's words that are moved to its topic; the others may belong to any. */
const TOPICAL_SHARE = 0.4;

/** Returns documents whose topics take turns. Word w belongs to topic w mod `topics`: 7 to topic 3 of 4. */
export function writeCorpus(random: Random, options: CorpusOptions): readonly Document[] {
  const { documents, wordsPerDocument, vocabulary, topics } = options;
  return Array.from({ length: documents }, (_, index) => {
    const topic = index % topics;
    const words = Array.from({ length: wordsPerDocument }, () => {
      const word = zipf(random, vocabulary);
      return random() < TOPICAL_SHARE ? word - (word % topics) + topic : word;
    });
    return { topic, words: words.map((word) => Math.min(word, vocabulary - 1)) };
  });
}

/** Draws a number k below `size` with a probability about proportional to 1 ⁄ (k + 1): Zipf's law by inversion. */
function zipf(random: Random, size: number): number {
  return Math.min(size - 1, Math.floor(Math.exp(random() * Math.log(size + 1))) - 1);
}
