/** Builds weight-patch streams frame by frame with right CRCs, positions and chains, and lets each of them lie. */

import { HeaderChain } from '../../gateway/patch/chain.ts';
import {
  type EndFields,
  encodeEnd,
  encodeOpen,
  encodePatch,
  encodeTensor,
  type FramePlace,
  type OpenFields,
  type PatchFields,
  sealHeader,
  type TensorFields,
} from '../../gateway/patch/format.ts';
import { padded } from '../../gateway/patch/layout.ts';

/** Changes a header before it is sealed again. */
export type Lie = (header: Buffer) => void;

export class CraftedStream {
  readonly frames: Buffer[] = [];
  readonly #chain = new HeaderChain();
  #tensors = 0;
  #changed = 0;

  get bytes(): Buffer {
    return Buffer.concat(this.frames);
  }

  get place(): FramePlace {
    return { sequence: this.frames.length, streamOffset: this.bytes.length };
  }

  open(fields: Partial<OpenFields> = {}, lie?: Lie): this {
    const open = {
      streamId: Buffer.alloc(16, 7),
      baseVersion: 4,
      targetVersion: 5,
      epoch: 3,
      tensorCount: 1,
      totalParams: 1000,
      totalChanged: 0,
      threshold: 0,
      maxPayload: 4096,
      baseDigest: Buffer.alloc(32, 1),
      modelId: 'bert_tiny',
      ...fields,
    };
    return this.#add(encodeOpen(open, this.place), lie);
  }

  tensor(fields: Partial<TensorFields> = {}, lie?: Lie): this {
    const shape = fields.shape ?? [10, 10];
    const elementCount = shape.reduce((product, size) => product * size, 1);
    const tensor: TensorFields = {
      tensorId: 0,
      dtype: 'F32',
      elementCount,
      shape,
      name: 'layer.0.w',
      ...fields,
    };
    this.#tensors += 1;
    return this.#add(encodeTensor(tensor, this.place), lie);
  }

  /** A patch of the given indices in the given bytes, with rising values. */
  patch(
    fields: Partial<PatchFields>,
    index: readonly number[] = [],
    lie?: Lie,
    spoil?: (payload: Buffer) => void,
  ): this {
    const patch: PatchFields = {
      tensorId: 0,
      count: 1,
      firstIndex: 0,
      lastIndex: 0,
      operation: 'set',
      indices: 'gap',
      values: 'f32',
      indexLength: index.length,
      scale: 0,
      ...fields,
    };
    const size = { f32: 4, f16: 2, bf16: 2, i8: 1 }[patch.values];
    const payload = Buffer.alloc(padded(patch.count * size + index.length));
    for (let at = 0; at < patch.count * size; at++) payload[at] = (at * 5 + 1) % 256;
    Buffer.from(index).copy(payload, patch.count * size);
    spoil?.(payload);
    this.#changed += patch.count;
    return this.#add(encodePatch(patch, payload, this.place), lie, payload);
  }

  end(fields: Partial<EndFields> = {}, lie?: Lie): this {
    const end = {
      frameCount: this.frames.length + 1,
      tensorCount: this.#tensors,
      totalChanged: this.#changed,
      totalBytes: this.bytes.length + 120,
      chain: this.#chain.digest(),
      targetDigest: Buffer.alloc(32, 2),
      ...fields,
    };
    return this.#add(encodeEnd(end, this.place), lie);
  }

  #add(header: Buffer, lie: Lie | undefined, payload = Buffer.alloc(0)): this {
    if (lie !== undefined) {
      lie(header);
      sealHeader(header);
    }
    this.#chain.link(header);
    this.frames.push(Buffer.concat([header, payload]));
    return this;
  }
}

/** A stream up to its first tensor: tensor 0, 100 elements of F32. */
export function begun(): CraftedStream {
  return new CraftedStream().open().tensor();
}

/** A small good stream with every frame type and every index and value encoding. */
export function goodStream(): CraftedStream {
  return new CraftedStream()
    .open({ tensorCount: 2, totalChanged: 14 })
    .tensor()
    .patch({ count: 3, firstIndex: 2, lastIndex: 99 - 60 }, [7, 28])
    .patch({ count: 5, firstIndex: 41, lastIndex: 50, indices: 'run', values: 'bf16' }, [0, 2, 5, 1])
    .tensor({ tensorId: 3, name: 'layer.1.ß', dtype: 'F16', shape: [300] })
    .patch(
      { tensorId: 3, count: 4, firstIndex: 5, lastIndex: 14, indices: 'bitmap', values: 'i8', scale: 0.5 },
      [0x29, 0x02],
    )
    .patch({ tensorId: 3, count: 2, firstIndex: 298, lastIndex: 299, indices: 'range', values: 'f16' })
    .end();
}
