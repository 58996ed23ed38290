/** A stream with one fault, the rule it breaks and the frame at fault; and the parts most of them are made of. */

import type { PatchFaultRule } from '../../gateway/patch/fault.ts';
import { sealHeader } from '../../gateway/patch/format.ts';
import { begun, type CraftedStream, goodStream } from './crafted-stream.ts';

export interface FaultCase {
  readonly title: string;
  readonly rule: PatchFaultRule;
  /** The frame at fault. */
  readonly frame: number;
  readonly stream: CraftedStream | Buffer;
}

/** A patch of tensor 0 (100 elements of F32) as frame 2, then a good END. */
export const patched = (...patch: Parameters<CraftedStream['patch']>) =>
  begun()
    .patch(...patch)
    .end();

/** The good stream with the header of its first frame of a type changed and sealed again. */
export const lying = (type: number, lie: (header: Buffer) => void): Buffer => {
  const { frames } = goodStream();
  const frame = frames.find((candidate) => candidate[4] === type) ?? Buffer.alloc(0);
  const header = frame.subarray(0, frame.readUInt16LE(6));
  lie(header);
  sealHeader(header);
  return Buffer.concat(frames);
};

/** The good stream with bytes changed in place and no CRC renewed. */
export const unsealed = (lie: (bytes: Buffer) => void): Buffer => {
  const { bytes } = goodStream();
  lie(bytes);
  return bytes;
};

/** The frame types, as byte 4 holds them. */
export const [openFrame, tensorFrame, patchFrame, endFrame] = [1, 2, 3, 4];

/** A patch of the first ten elements. */
export const range = { indices: 'range', count: 10, lastIndex: 9 } as const;
