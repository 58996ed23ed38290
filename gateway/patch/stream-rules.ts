/** Checks a header against the frames before it: order, offsets, bounds, sums, the chain, what the request allows. */

import { matchesName, type NamePattern } from '../core/name-pattern.ts';
import { HeaderChain } from './chain.ts';
import { type Violation, violation } from './fault.ts';
import type { EndHeader, Header, OpenHeader, PatchHeader, TensorHeader } from './format.ts';
import { carries } from './value.ts';

/** Which changes are accepted; an absent member accepts everything. */
export interface ContentRules {
  /** Only tensors whose name matches one of these may change. */
  readonly tensors?: readonly NamePattern[] | undefined;
  /** The largest share of a tensor that may change, from 0 to 1; a stream then resumes only between tensors. */
  readonly maxChanged?: number | undefined;
  /** The largest absolute value, or with `add` the largest difference; only `check: values` looks at it. */
  readonly maxAbs?: number | undefined;
}

/** What the request allows; an absent member allows everything. */
export interface PatchExpectation {
  readonly modelId?: string | undefined;
  readonly baseVersion?: number | undefined;
  readonly targetVersion?: number | undefined;
  /** The latest epoch allowed; 0 allows only epoch 0, so leave it out where 0 means no limit. */
  readonly maxEpoch?: number | undefined;
  /** The most bytes the whole stream may have. */
  readonly maxBytes?: number | undefined;
  readonly content?: ContentRules | undefined;
  /**
   * Where a resumed stream continues, above 0: the first byte its receiver has not staged. The body is then OPEN, byte
   * for byte as it was sent, the last TENSOR frame before that offset if there is one, and the frames from that offset
   * on. So OPEN is checked against the request each time, and bounds against the tensor. The skipped frames were
   * checked when they passed. Only the receiver can verify that all of it is one stream: it has OPEN, TENSOR and the
   * chain.
   */
  readonly resumeAt?: number | undefined;
}

/** Follows a stream header by header with constant memory. After a violation it must not be used again. */
export class StreamRules {
  readonly #expectation: PatchExpectation;
  readonly #chain = new HeaderChain();
  #open: OpenHeader | undefined;
  #tensor: TensorHeader | undefined;
  #end: EndHeader | undefined;
  #frames = 0;
  #bytes = 0;
  #tensors = 0;
  #params = 0;
  #changed = 0;
  /** Changed elements of the current tensor. */
  #changedHere = 0;
  /** The last element of the current tensor that a patch has covered. */
  #covered = -1;
  /** Where the stream is yet to resume, and whether frames were skipped on the way there. */
  #resumeAt: number | undefined;
  #skipped = false;

  constructor(expectation: PatchExpectation) {
    this.#expectation = expectation;
    this.#resumeAt = expectation.resumeAt;
  }

  /** The OPEN header once it was admitted. */
  get open(): OpenHeader | undefined {
    return this.#open;
  }

  /** The tensor the next patches are for. */
  get tensor(): TensorHeader | undefined {
    return this.#tensor;
  }

  /** Whether END was admitted. */
  get ended(): boolean {
    return this.#end !== undefined;
  }

  /** END once it was admitted. */
  get end(): EndHeader | undefined {
    return this.#end;
  }

  /** Whether frames were skipped, so that the chain in END cannot be checked. */
  get skipped(): boolean {
    return this.#skipped;
  }

  /** Frames admitted: the sequence number of the next one. */
  get frames(): number {
    return this.#frames;
  }

  /** Bytes of all admitted frames: the stream offset of the next one. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Changed elements of all admitted patches. */
  get changed(): number {
    return this.#changed;
  }

  /** Checks a decoded header against all that came before; `bytes` is the same header as it was sent. */
  admit(header: Header, bytes: Buffer): Violation | undefined {
    const fault = this.#resume(header) ?? this.#place(header) ?? this.#byType(header);
    if (fault !== undefined) return fault;
    this.#frames += 1;
    this.#bytes += header.headerLength + header.payloadLength;
    if (header.type !== 'end') this.#chain.link(bytes);
    return undefined;
  }

  /** After OPEN, a resumed stream jumps to the tensor it was cut in, and from there to where it continues. */
  #resume(header: Header): Violation | undefined {
    const resumeAt = this.#resumeAt;
    if (resumeAt === undefined || this.#open === undefined) return undefined;
    const restated = header.type === 'tensor' && header.streamOffset < resumeAt;
    if (!restated) this.#resumeAt = undefined;
    const leapsTo = restated && this.#tensor === undefined ? header.streamOffset : resumeAt;
    if (header.streamOffset !== leapsTo || leapsTo < this.#bytes) {
      return violation(
        'offset',
        `the stream resumes at ${resumeAt}, the frame's stream_offset is ${header.streamOffset}`,
      );
    }
    if (leapsTo === this.#bytes) return undefined;
    // The skipped patches changed elements of this tensor too, and their number is not known here.
    if (header.type === 'patch' && this.#expectation.content?.maxChanged !== undefined) {
      const name = this.#tensor?.name ?? '';
      return violation(
        'offset',
        `the stream was cut within ${name}, whose changes are counted together: send it from the start`,
      );
    }
    if (header.sequence <= this.#frames) {
      return violation('sequence', `frames were skipped, but this one's sequence is ${header.sequence}`);
    }
    this.#skipped = true;
    this.#frames = header.sequence;
    this.#bytes = leapsTo;
    return undefined;
  }

  #place(header: Header): Violation | undefined {
    if (header.sequence !== this.#frames) {
      return violation('sequence', `the sequence of frame ${this.#frames} is ${header.sequence}`);
    }
    if (header.streamOffset !== this.#bytes) {
      return violation(
        'offset',
        `the stream_offset of the frame at ${this.#bytes} is ${header.streamOffset}`,
      );
    }
    const { maxBytes = Number.POSITIVE_INFINITY } = this.#expectation;
    return this.#bytes + header.headerLength + header.payloadLength > maxBytes
      ? violation('stream-size', `the stream is longer than the ${maxBytes} bytes allowed`)
      : undefined;
  }

  #byType(header: Header): Violation | undefined {
    if (header.type === 'open') return this.#admitOpen(header);
    if (this.#open === undefined) return violation('type', 'the first frame is not OPEN');
    if (header.type === 'tensor') return this.#admitTensor(header, this.#open);
    if (header.type === 'patch') return this.#admitPatch(header, this.#open);
    return this.#admitEnd(header, this.#open);
  }

  #admitOpen(open: OpenHeader): Violation | undefined {
    if (this.#open !== undefined) return violation('type', 'a stream has only one OPEN frame');
    const { modelId, baseVersion, targetVersion, maxEpoch } = this.#expectation;
    if (modelId !== undefined && open.modelId !== modelId) {
      return violation('model', 'the patch is for another model');
    }
    if (baseVersion !== undefined && open.baseVersion !== baseVersion) {
      return violation('base', `the patch is for version ${open.baseVersion}, not ${baseVersion}`);
    }
    if (targetVersion !== undefined && open.targetVersion !== targetVersion) {
      return violation('version', `the patch makes version ${open.targetVersion}, not ${targetVersion}`);
    }
    if (maxEpoch !== undefined && open.epoch > maxEpoch) {
      return violation('epoch', `epoch ${open.epoch} is later than ${maxEpoch}`);
    }
    this.#open = open;
    return undefined;
  }

  #admitTensor(tensor: TensorHeader, open: OpenHeader): Violation | undefined {
    if (this.#tensor !== undefined && tensor.tensorId <= this.#tensor.tensorId) {
      return violation('tensor-order', `tensor ${tensor.tensorId} comes after ${this.#tensor.tensorId}`);
    }
    if (this.#tensors >= open.tensorCount) {
      return violation('counts', `OPEN announced only ${open.tensorCount} tensors`, 'tensor_id');
    }
    if (this.#params + tensor.elementCount > open.totalParams) {
      return violation('bounds', `OPEN announced only ${open.totalParams} parameters`, 'element_count');
    }
    const { tensors } = this.#expectation.content ?? {};
    if (tensors !== undefined && !tensors.some((pattern) => matchesName(pattern, tensor.name))) {
      return violation('content', `tensor ${tensor.name} is not among those that may change`, 'name');
    }
    this.#tensor = tensor;
    this.#tensors += 1;
    this.#params += tensor.elementCount;
    this.#covered = -1;
    this.#changedHere = 0;
    return undefined;
  }

  #admitPatch(patch: PatchHeader, open: OpenHeader): Violation | undefined {
    const tensor = this.#tensor;
    if (tensor === undefined || patch.tensorId !== tensor.tensorId) {
      return violation(
        'tensor-order',
        `the patch of tensor ${patch.tensorId} does not follow its TENSOR frame`,
      );
    }
    if (patch.payloadLength > open.maxPayload) {
      return violation('payload-size', `OPEN announced payloads of at most ${open.maxPayload} bytes`);
    }
    if (!carries(tensor, patch)) {
      return violation(
        'encoding',
        `${patch.values} values cannot be written to ${tensor.dtype} elements`,
        'values',
      );
    }
    if (patch.lastIndex >= tensor.elementCount) {
      return violation(
        'bounds',
        `the tensor has ${tensor.elementCount} elements, the last index is ${patch.lastIndex}`,
        'last_index',
      );
    }
    if (patch.firstIndex <= this.#covered) {
      return violation(
        'overlap',
        `the patch begins at ${patch.firstIndex}, the one before ended at ${this.#covered}`,
      );
    }
    this.#covered = patch.lastIndex;
    this.#changed += patch.count;
    this.#changedHere += patch.count;
    return this.#changes(tensor, open);
  }

  /** Checks that not too much changes. */
  #changes({ name, elementCount }: TensorHeader, open: OpenHeader): Violation | undefined {
    const { maxChanged = 1 } = this.#expectation.content ?? {};
    if (this.#changedHere > maxChanged * elementCount) {
      const share = `${this.#changedHere} of ${elementCount} elements`;
      return violation('content', `${share} of ${name} change, a share above ${maxChanged}`, 'count');
    }
    return open.totalChanged !== 0 && this.#changed > open.totalChanged
      ? violation('counts', `OPEN announced only ${open.totalChanged} changes`, 'count')
      : undefined;
  }

  #admitEnd(end: EndHeader, open: OpenHeader): Violation | undefined {
    if (end.frameCount !== this.#frames + 1) {
      return violation(
        'counts',
        `the stream has ${this.#frames + 1} frames, END says ${end.frameCount}`,
        'frame_count',
      );
    }
    if (!this.#adds(end.tensorCount, this.#tensors) || open.tensorCount !== end.tensorCount) {
      return violation('counts', `the stream has ${this.#tensors} tensors`, 'tensor_count');
    }
    if (!this.#adds(end.totalChanged, this.#changed) || ![0, end.totalChanged].includes(open.totalChanged)) {
      return violation('counts', `the stream has ${this.#changed} changes`, 'total_changed');
    }
    const bytes = this.#bytes + end.headerLength;
    if (end.totalBytes !== bytes) {
      return violation('counts', `the stream has ${bytes} bytes, END says ${end.totalBytes}`, 'total_bytes');
    }
    if (!this.#skipped && !end.chain.equals(this.#chain.digest()))
      return violation('chain', 'the chain of headers does not match');
    this.#end = end;
    return undefined;
  }

  /** Whether a sum is what was counted, or at least that if frames were skipped. */
  #adds(sum: number, counted: number): boolean {
    return this.#skipped ? sum >= counted : sum === counted;
  }
}
