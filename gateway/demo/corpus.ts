/** Documents to learn from: words drawn as in real texts, few of them often and most of them rarely. */

import type { Random } from './random.ts';

export interface Document {
  /** Word numbers, below the size of the vocabulary. */
  readonly words: readonly number[];
  /** Topic number: what the network is to tell from the words. */
  readonly topic: number;
}

export interface CorpusOptions {
  readonly documents: number;
  readonly wordsPerDocument: number;
  readonly vocabulary: number;
  readonly topics: number;
}

/** This share of a document's words are about its topic; the others are everybody's. */
const TOPICAL_SHARE = 0.4;

/** Documents whose topics come in turn. A topic's own words are those whose number leaves it as remainder. */
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

/** A number below `size`, number k about as often as 1 ⁄ (k + 1): Zipf's law by inversion. */
function zipf(random: Random, size: number): number {
  return Math.min(size - 1, Math.floor(Math.exp(random() * Math.log(size + 1))) - 1);
}
