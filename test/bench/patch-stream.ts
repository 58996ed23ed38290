/** A weight patch of many frames, as a pushing worker sends it. */

import type { TensorChange } from '../../gateway/patch/diff.ts';
import { MAX_WRITTEN_ELEMENTS } from '../../gateway/patch/layout.ts';
import { writePatch } from '../../gateway/patch/write.ts';

/**
 * Resolves to the buffers of a stream of `frames` × 64 Ki changes of float32, at every fourth element. A frame holds
 * at most 256 KiB, so 64 Ki changes take two, of 58,254 and 7,282; at this spacing a bitmap is the smallest encoding.
 */
export async function patchStream(modelId: string, frames: number): Promise<readonly Buffer[]> {
  const elementCount = frames * MAX_WRITTEN_ELEMENTS * 4;
  const tensor = { tensorId: 0, name: 'w', dtype: 'F32' as const, shape: [elementCount], elementCount };
  const values = Buffer.alloc(MAX_WRITTEN_ELEMENTS * 4, 'w');
  function* changes(): Generator<TensorChange> {
    for (let frame = 0; frame < frames; frame++) {
      const first = frame * MAX_WRITTEN_ELEMENTS * 4;
      const indices = Float64Array.from({ length: MAX_WRITTEN_ELEMENTS }, (_, index) => first + index * 4);
      yield { tensor, indices, values, encoding: 'f32' };
    }
  }
  const identity = {
    modelId,
    streamId: Buffer.alloc(16, 1),
    baseVersion: 0,
    targetVersion: 1,
    epoch: 1,
    tensorCount: 1,
    totalParams: elementCount,
    totalChanged: 0,
    threshold: 0,
    baseDigest: Buffer.alloc(32),
    targetDigest: Buffer.alloc(32),
  };
  const stream: Buffer[] = [];
  for await (const frame of writePatch(identity, changes())) stream.push(frame);
  return stream;
}
