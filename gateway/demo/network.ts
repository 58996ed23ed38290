/** A small text classifier with real gradients: word embeddings, their mean, one hidden layer, softmax. */

import type { TensorData } from '../patch/safetensors.ts';
import type { Document } from './corpus.ts';
import type { Random } from './random.ts';

export interface NetworkShape {
  readonly vocabulary: number;
  readonly embedding: number;
  readonly hidden: number;
  readonly topics: number;
}

/** Values of the layers for one document. */
interface Activations {
  /** Mean of the document's embeddings. */
  readonly mean: Float64Array;
  /** Hidden layer, after tanh. */
  readonly hidden: Float64Array;
  /** Probability of each topic. */
  readonly probabilities: Float64Array;
}

/** Weights are float32; activations, gradients and sums are float64. */
export class Network {
  readonly shape: NetworkShape;
  readonly embeddings: Float32Array;
  readonly hiddenWeights: Float32Array;
  readonly hiddenBias: Float32Array;
  readonly outputWeights: Float32Array;
  readonly outputBias: Float32Array;

  constructor(shape: NetworkShape, random: Random) {
    const { vocabulary, embedding, hidden, topics } = shape;
    this.shape = shape;
    this.embeddings = uniform(random, vocabulary * embedding, 0.5);
    this.hiddenWeights = uniform(random, hidden * embedding, 1 / Math.sqrt(embedding));
    this.hiddenBias = new Float32Array(hidden);
    this.outputWeights = uniform(random, topics * hidden, 1 / Math.sqrt(hidden));
    this.outputBias = new Float32Array(topics);
  }

  /** One step of plain stochastic gradient descent per document. Returns the mean loss before each step, in nats. */
  trainEpoch(documents: readonly Document[], learningRate: number): number {
    let loss = 0;
    for (const document of documents) {
      const activations = this.#forward(document);
      loss += lossOf(activations, document);
      this.#descend(document, activations, learningRate);
    }
    return loss / documents.length;
  }

  /** Cross-entropy of one document, in nats. */
  loss(document: Document): number {
    return lossOf(this.#forward(document), document);
  }

  /** Share of documents whose topic gets the highest probability. */
  accuracy(documents: readonly Document[]): number {
    const right = documents.filter((document) => {
      const { probabilities } = this.#forward(document);
      return probabilities.indexOf(Math.max(...probabilities)) === document.topic;
    });
    return right.length / documents.length;
  }

  /** Views of the weights, not copies: the next step changes them. */
  tensors(): readonly TensorData[] {
    const { vocabulary, embedding, hidden, topics } = this.shape;
    return [
      tensor('embedding.weight', [vocabulary, embedding], this.embeddings),
      tensor('hidden.weight', [hidden, embedding], this.hiddenWeights),
      tensor('hidden.bias', [hidden], this.hiddenBias),
      tensor('output.weight', [topics, hidden], this.outputWeights),
      tensor('output.bias', [topics], this.outputBias),
    ];
  }

  #forward({ words }: Document): Activations {
    const { embedding } = this.shape;
    const mean = new Float64Array(embedding);
    for (const word of words) {
      for (let i = 0; i < embedding; i++) {
        mean[i] = at(mean, i) + at(this.embeddings, word * embedding + i) / words.length;
      }
    }
    const hidden = affine(this.hiddenWeights, this.hiddenBias, mean).map(Math.tanh);
    return { mean, hidden, probabilities: softmax(affine(this.outputWeights, this.outputBias, hidden)) };
  }

  /** Back-propagation: each gradient is computed before the weights it depends on change. */
  #descend(document: Document, { mean, hidden, probabilities }: Activations, learningRate: number): void {
    const atOutput = probabilities.map(
      (probability, topic) => probability - Number(topic === document.topic),
    );
    const atHidden = transposed(this.outputWeights, atOutput, hidden.length).map(
      (gradient, unit) => gradient * (1 - at(hidden, unit) ** 2),
    );
    const atMean = transposed(this.hiddenWeights, atHidden, mean.length);
    step(this.outputWeights, this.outputBias, atOutput, hidden, learningRate);
    step(this.hiddenWeights, this.hiddenBias, atHidden, mean, learningRate);
    const share = learningRate / document.words.length;
    for (const word of document.words) {
      for (let i = 0; i < mean.length; i++) {
        const index = word * mean.length + i;
        this.embeddings[index] = at(this.embeddings, index) - share * at(atMean, i);
      }
    }
  }
}

type Numbers = Float32Array | Float64Array;

/** An element whose index is known to be valid. */
const at = (values: Numbers, index: number): number => values[index] ?? 0;

function lossOf({ probabilities }: Activations, { topic }: Document): number {
  return -Math.log(at(probabilities, topic));
}

function uniform(random: Random, length: number, scale: number): Float32Array {
  return Float32Array.from({ length }, () => (random() * 2 - 1) * scale);
}

function tensor(name: string, shape: readonly number[], values: Float32Array): TensorData {
  return { name, dtype: 'F32', shape, data: Buffer.from(values.buffer) };
}

/** `weights · input + bias`, the weights row by row. */
function affine(weights: Float32Array, bias: Float32Array, input: Float64Array): Float64Array {
  return Float64Array.from(bias, (start, row) => {
    let sum = start;
    for (let i = 0; i < input.length; i++) sum += at(weights, row * input.length + i) * at(input, i);
    return sum;
  });
}

/** `weightsᵀ · gradient`. */
function transposed(weights: Float32Array, gradient: Float64Array, columns: number): Float64Array {
  const result = new Float64Array(columns);
  for (let row = 0; row < gradient.length; row++) {
    for (let i = 0; i < columns; i++) {
      result[i] = at(result, i) + at(weights, row * columns + i) * at(gradient, row);
    }
  }
  return result;
}

/** Moves the weights of one layer down their gradient. */
function step(
  weights: Float32Array,
  bias: Float32Array,
  gradient: Float64Array,
  input: Float64Array,
  learningRate: number,
): void {
  for (let row = 0; row < gradient.length; row++) {
    const scaled = learningRate * at(gradient, row);
    bias[row] = at(bias, row) - scaled;
    for (let i = 0; i < input.length; i++) {
      const index = row * input.length + i;
      weights[index] = at(weights, index) - scaled * at(input, i);
    }
  }
}

function softmax(values: Float64Array): Float64Array {
  const largest = Math.max(...values);
  const powers = values.map((value) => Math.exp(value - largest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}
