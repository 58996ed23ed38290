/** Lossy pushes never deviate by more than the threshold or the encoding allows. */

import { join } from 'node:path';
import t, { type Test } from 'tap';
import { valueFormats } from '../../gateway/patch/element.ts';
import { decodeIndices } from '../../gateway/patch/index-encoding.ts';
import { type ValueEncoding, valueSizes } from '../../gateway/patch/layout.ts';
import { readPatch } from '../../gateway/patch/read.ts';
import { Shadow } from '../../gateway/push/shadow.ts';
import { newFolder } from '../new-folder.ts';
import { furthest, valuesOf, Weights } from './weights.ts';

const modelId = 'bert_tiny';

/** A separate receiver: what the streams make of its weights, without help of the shadow. */
async function trainAgainst(
  t: Test,
  steps: number,
  precision: { readonly threshold: number; readonly values?: ValueEncoding },
) {
  const folder = await newFolder(t);
  const at = (name: string): string => join(folder, name);
  const weights = new Weights(95, 200);
  const shadow = new Shadow(at('shadow'));
  await weights.save(at('target'));
  await shadow.begin(at('target'));
  const received = Float32Array.from(weights.values);
  let [bytes, changed] = [0, 0];
  for (let step = 0; step < steps; step++) {
    weights.step(4e-6);
    await weights.overwrite(at('target'));
    const options = { modelId, baseVersion: step, targetVersion: step + 1, epoch: 0 };
    const patch = await shadow.patchTo(at('target'), precision, options);
    await receive(received, patch.stream);
    await patch.close();
    await shadow.advance();
    bytes += patch.bytes;
    changed += patch.changed;
  }
  return { received, weights: weights.values, bytes, changed, shadow: await valuesOf(at('shadow')) };
}

/** Applies a stream of f32, f16, bf16 or i8 values as the format says, one weight after another. */
async function receive(weights: Float32Array, stream: AsyncIterable<Buffer>): Promise<void> {
  for await (const { header, payload } of readPatch(stream)) {
    if (header.type !== 'patch') continue;
    const size = valueSizes[header.values];
    const indices = decodeIndices(
      header,
      payload.subarray(header.count * size, header.count * size + header.indexLength),
    );
    if (!(indices instanceof Float64Array)) throw new Error(indices.detail);
    const bytes = new DataView(payload.buffer, payload.byteOffset, payload.length);
    for (const [k, index] of indices.entries()) {
      const value = valueFormats[header.values].read(bytes, k * size);
      const given = header.values === 'i8' ? Math.fround(value * header.scale) : value;
      weights[index] = header.operation === 'add' ? (weights[index] ?? 0) + given : given;
    }
  }
}

t.test('after 1,000 lossy steps no weight deviates by more than the threshold', async (t) => {
  const threshold = 1e-5;
  const { received, weights, changed, shadow } = await trainAgainst(t, 1000, { threshold });
  const off = furthest(received, weights);
  t.ok(off <= threshold, `the largest deviation is ${off}`);
  t.ok(
    changed < 1000 * weights.length * 0.5,
    `only ${changed} of ${1000 * weights.length} weights were sent`,
  );
  const start = new Weights(95, 200).values;
  t.ok(furthest(weights, start) > 20 * threshold, 'each weight moved much further in total');
  t.same(shadow, received, 'the shadow equals the receiver bit for bit');
});

const roundings: readonly (readonly [ValueEncoding, number])[] = [
  ['f16', 2 ** -11],
  ['bf16', 2 ** -8],
  ['i8', 2e-5],
];
t.test('values in fewer bits stay within their rounding and do not drift', async (t) => {
  const exact = await trainAgainst(t, 30, { threshold: 1e-5 });
  for (const [values, bound] of roundings) {
    const { received, weights, bytes } = await trainAgainst(t, 30, { threshold: 1e-5, values });
    const off = furthest(received, weights);
    t.ok(off <= Math.max(1e-5, bound * 1.001), `the largest deviation with ${values} is ${off}`);
    t.ok(bytes < exact.bytes, `${bytes} bytes are fewer than the ${exact.bytes} of exact values`);
  }
});

t.test('weights out of range of the encoding are sent exactly, and none becomes infinite', async (t) => {
  const rows: readonly (readonly [ValueEncoding, readonly number[], readonly number[]])[] = [
    ['f16', [1, 2], [70_000, 2.5]],
    ['bf16', [1, 2], [3.4028e38, 2.5]],
    ['i8', [-3e38, 2], [3e38, 2.5]],
    ['f16', [1, 2], [Number.POSITIVE_INFINITY, 2.5]],
  ];
  for (const [values, from, to] of rows) {
    const folder = await newFolder(t);
    const at = (name: string): string => join(folder, name);
    const weights = new Weights(95, from.length);
    weights.values.set(from);
    await weights.save(at('base'));
    weights.values.set(to);
    await weights.save(at('target'));
    const shadow = new Shadow(at('shadow'));
    await shadow.begin(at('base'));
    const options = { modelId, baseVersion: 0, targetVersion: 1, epoch: 0 };
    const patch = await shadow.patchTo(at('target'), { threshold: 0, values }, options);
    const received = Float32Array.from(from);
    await receive(received, patch.stream);
    await patch.close();
    t.same(received, weights.values, `${to} arrives exactly as ${values}`);
    t.same(await valuesOf(shadow.nextPath), received);
  }
});
