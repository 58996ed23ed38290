/** Checks a weight-patch stream in constant memory as it passes: forwards its buffers, and END only if all is well. */

import { crc32 } from 'node:zlib';
import { decodeHeader, headerLengthOf, isViolation, PREFIX_LENGTH } from './decode.ts';
import { type PatchFault, patchFault, type Violation, violation } from './fault.ts';
import type { EndHeader, Header, OpenHeader } from './format.ts';
import { MAX_HEADER_LENGTH } from './layout.ts';
import { PayloadCheck } from './payload-check.ts';
import { type PatchExpectation, StreamRules } from './stream-rules.ts';
import { ValueCheck } from './value-check.ts';

export type { ContentRules, PatchExpectation } from './stream-rules.ts';

/**
 * `header` checks headers and CRCs; `deep` also decodes the indices and checks them against their header; `values`
 * also checks that every value is finite and within `maxAbs`.
 */
export type PatchCheckMode = 'header' | 'deep' | 'values';

/** Receives bytes that may go on. They may be a view of the accepted chunk: valid until this returns. */
export type Forward = (bytes: Buffer) => void;

/** The check of one stream. It forwards bytes in order, and nothing after a fault. */
export interface PatchCheck {
  /**
   * Takes the next chunk, of any size. Forwards the chunk itself or views of it, in one or two calls; a header split
   * over chunks is held back until it is whole, and forwarded as one new Buffer of at most 512 bytes. END is held back
   * until `finish`. Returns the first fault, and the same fault from every later call.
   */
  accept(chunk: Buffer, forward: Forward): PatchFault | undefined;
  /** Called when the body ended properly. Forwards END if it came and nothing followed it, else returns the fault. */
  finish(forward: Forward): PatchFault | undefined;
  /** Frames whose headers were accepted. */
  readonly frames: number;
  /** Changed elements that their PATCH headers announce. */
  readonly changed: number;
  /** The OPEN header once it was accepted. */
  readonly open: OpenHeader | undefined;
  /** The END header once it was accepted; bytes after it are still a fault. */
  readonly end: EndHeader | undefined;
  /** Whether the stream resumes one that was cut: earlier frames were not seen, so END's chain is not checked. */
  readonly isResumed: boolean;
}

/** Begins a check of one stream against what its request allows. */
export function createPatchCheck(mode: PatchCheckMode, expectation: PatchExpectation): PatchCheck {
  return new StreamCheck(mode, expectation);
}

class StreamCheck implements PatchCheck {
  readonly #rules: StreamRules;
  readonly #inside: PayloadCheck | undefined;
  /** The header being read. */
  readonly #header = Buffer.allocUnsafe(MAX_HEADER_LENGTH);
  /** Bytes of it so far. */
  #headerHeld = 0;
  /** Its length, once the prefix was read; until then the length of the prefix. */
  #headerNeeded = PREFIX_LENGTH;
  /** Whether its first bytes came in an earlier chunk. */
  #headerSplit = false;
  #payloadLeft = 0;
  #payloadCrc = 0;
  #payloadCrcExpected = 0;
  /** The number of the current frame, and where it begins. */
  #frame = 0;
  #frameOffset = 0;
  /** END, held back. */
  #end: Buffer | undefined;
  #fault: PatchFault | undefined;
  /** The part of the chunk that may go on. */
  #passFrom = 0;
  #passTo = 0;

  constructor(mode: PatchCheckMode, expectation: PatchExpectation) {
    this.#rules = new StreamRules(expectation);
    const values = mode === 'values' ? new ValueCheck(expectation.content?.maxAbs) : undefined;
    this.#inside = mode === 'header' ? undefined : new PayloadCheck(values);
  }

  get frames(): number {
    return this.#rules.frames;
  }

  get changed(): number {
    return this.#rules.changed;
  }

  get open(): OpenHeader | undefined {
    return this.#rules.open;
  }

  get end(): EndHeader | undefined {
    return this.#rules.end;
  }

  get isResumed(): boolean {
    return this.#rules.skipped;
  }

  accept(chunk: Buffer, forward: Forward): PatchFault | undefined {
    this.#passFrom = 0;
    this.#passTo = 0;
    this.#headerSplit = this.#headerHeld > 0;
    let at = 0;
    while (at < chunk.length && this.#fault === undefined) {
      at = this.#payloadLeft > 0 ? this.#takePayload(chunk, at) : this.#takeHeader(chunk, at, forward);
    }
    if (this.#fault === undefined && this.#passTo > this.#passFrom) {
      const whole = this.#passFrom === 0 && this.#passTo === chunk.length;
      forward(whole ? chunk : chunk.subarray(this.#passFrom, this.#passTo));
    }
    return this.#fault;
  }

  finish(forward: Forward): PatchFault | undefined {
    if (this.#fault !== undefined) return this.#fault;
    const end = this.#end;
    if (end === undefined) {
      if (this.#headerHeld === 0 && this.#payloadLeft === 0) this.#beginFrame();
      this.#refuse(violation('truncated', 'the stream ended before its END frame'));
      return this.#fault;
    }
    forward(end);
    return undefined;
  }

  #refuse(broken: Violation): void {
    this.#fault = patchFault(broken, this.#frame, this.#frameOffset);
  }

  /** Takes payload bytes from `at`; returns where they end. */
  #takePayload(chunk: Buffer, at: number): number {
    const end = Math.min(at + this.#payloadLeft, chunk.length);
    const whole = at === 0 && end === chunk.length;
    this.#payloadCrc = crc32(whole ? chunk : chunk.subarray(at, end), this.#payloadCrc);
    this.#payloadLeft -= end - at;
    const last = this.#payloadLeft === 0;
    if (last && this.#payloadCrc !== this.#payloadCrcExpected) {
      this.#refuse(violation('payload-crc', 'the payload CRC does not match'));
      return end;
    }
    const broken = this.#inside?.take(chunk, at, end) ?? (last ? this.#inside?.finish() : undefined);
    if (broken !== undefined) this.#refuse(broken);
    this.#passTo = end;
    return end;
  }

  /** Takes header bytes from `at`; returns where they end. */
  #takeHeader(chunk: Buffer, at: number, forward: Forward): number {
    if (this.#headerHeld === 0) this.#beginFrame();
    if (this.#end !== undefined) {
      this.#refuse(violation('trailing', 'bytes follow the END frame'));
      return chunk.length;
    }
    const end = Math.min(at + this.#headerNeeded - this.#headerHeld, chunk.length);
    this.#headerHeld += chunk.copy(this.#header, this.#headerHeld, at, end);
    if (this.#headerHeld < this.#headerNeeded) return end;
    if (this.#headerNeeded === PREFIX_LENGTH) this.#measureHeader();
    else this.#admitHeader(end, forward);
    return end;
  }

  #beginFrame(): void {
    this.#frame = this.#rules.frames;
    this.#frameOffset = this.#rules.bytes;
  }

  #measureHeader(): void {
    const length = headerLengthOf(this.#header);
    if (typeof length === 'number') this.#headerNeeded = length;
    else this.#refuse(length);
  }

  /** Admits or refuses the header, which is whole and ends at `end` of the chunk. */
  #admitHeader(end: number, forward: Forward): void {
    const bytes = this.#header.subarray(0, this.#headerNeeded);
    const header = decodeHeader(bytes);
    if (isViolation(header)) {
      this.#refuse(header);
      return;
    }
    const broken = this.#rules.admit(header, bytes) ?? this.#beginPayload(header);
    if (broken !== undefined) {
      this.#refuse(broken);
      return;
    }
    const split = this.#headerSplit;
    this.#headerHeld = 0;
    this.#headerNeeded = PREFIX_LENGTH;
    this.#headerSplit = false;
    if (header.type === 'end') {
      this.#end = Buffer.from(bytes);
      return;
    }
    this.#passTo = end;
    if (split) {
      forward(Buffer.from(bytes));
      this.#passFrom = end;
    }
  }

  #beginPayload(header: Header): Violation | undefined {
    const { tensor } = this.#rules;
    if (header.type !== 'patch' || tensor === undefined) return undefined;
    this.#payloadLeft = header.payloadLength;
    this.#payloadCrc = 0;
    this.#payloadCrcExpected = header.payloadCrc;
    return this.#inside?.begin(header, tensor);
  }
}
