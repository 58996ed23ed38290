/** The network of the demo learns by real gradients, and reproducibly from the same seed. */
import t from 'tap';
import { type Document, writeCorpus } from '../../gateway/demo/corpus.ts';
import { Network } from '../../gateway/demo/network.ts';
import { createRandom } from '../../gateway/demo/random.ts';

const SHAPE = { vocabulary: 50, embedding: 4, hidden: 5, topics: 3 };
const CORPUS = { documents: 90, wordsPerDocument: 8, vocabulary: 50, topics: 3 };

t.test('one step moves every weight down the gradient that finite differences give', async (t) => {
  const document: Document = { words: [3, 7, 7, 20], topic: 1 };
  const rate = 1e-3;
  const trained = new Network(SHAPE, createRandom(1));
  trained.trainEpoch([document], rate);
  for (const layer of ['embeddings', 'hiddenWeights', 'hiddenBias', 'outputWeights', 'outputBias'] as const) {
    const probe = new Network(SHAPE, createRandom(1));
    const before = probe[layer].slice();
    const worst = before.reduce((largest, weight, index) => {
      const lossAt = (value: number): number => {
        probe[layer][index] = value;
        return probe.loss(document);
      };
      const gradient = (lossAt(weight + 1e-2) - lossAt(weight - 1e-2)) / 2e-2;
      probe[layer][index] = weight;
      const moved = (weight - (trained[layer][index] ?? Number.NaN)) / rate;
      return Math.max(largest, Math.abs(moved - gradient));
    }, 0);
    t.ok(worst < 1e-3, `the step of ${layer} is off by ${worst} at most`);
  }
});

t.test('words that occur in no document keep their weights', async (t) => {
  const network = new Network(SHAPE, createRandom(2));
  const before = network.embeddings.slice();
  network.trainEpoch([{ words: [1, 2], topic: 0 }], 0.1);
  const changed = [...before.keys()].filter((index) => before[index] !== network.embeddings[index]);
  t.same(changed, [4, 5, 6, 7, 8, 9, 10, 11], 'only the rows of the words 1 and 2 changed');
});

t.test('the loss falls, and unseen documents are classified better than by chance', async (t) => {
  const random = createRandom(3);
  const train = writeCorpus(random, CORPUS);
  const heldOut = writeCorpus(random, { ...CORPUS, documents: 300 });
  const network = new Network(SHAPE, random);
  const losses = Array.from({ length: 30 }, () => network.trainEpoch(train, 0.2));
  t.ok((losses.at(-1) ?? 1) < 0.5 * (losses[0] ?? 0), losses.join(' '));
  t.ok(network.accuracy(heldOut) > 0.5, String(network.accuracy(heldOut)));
});

t.test('the same seed gives the same weights, and another seed gives others', async (t) => {
  const bytes = (seed: number): Buffer => {
    const random = createRandom(seed);
    const documents = writeCorpus(random, CORPUS);
    const network = new Network(SHAPE, random);
    network.trainEpoch(documents, 0.2);
    return Buffer.concat(network.tensors().map(({ data }) => data));
  };
  t.same(bytes(1), bytes(1));
  t.notSame(bytes(1), bytes(2));
});

t.test('a few words are frequent, and every topic has documents', async (t) => {
  const documents = writeCorpus(createRandom(4), { ...CORPUS, vocabulary: 1000, documents: 300 });
  const counts = new Map<number, number>();
  for (const word of documents.flatMap(({ words }) => words)) counts.set(word, (counts.get(word) ?? 0) + 1);
  const sorted = [...counts.values()].sort((a, b) => b - a);
  const top = sorted.slice(0, 10).reduce((sum, count) => sum + count, 0);
  t.ok(
    top > 0.3 * documents.length * 8,
    `${top} of ${documents.length * 8} words are among the ten most frequent`,
  );
  t.ok([...counts.keys()].every((word) => word >= 0 && word < 1000));
  t.same(new Set(documents.map(({ topic }) => topic)), new Set([0, 1, 2]));
});
