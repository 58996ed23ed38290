/** The chunked transfer coding, parsed strictly (RFC 9112 §7.1): every byte between the data is checked. */

import { trimBlanks } from '../core/blanks.ts';
import type { BodyProgress, BodyReader, BodySink } from './body-reader.ts';
import { ChunkExtension } from './chunk-extension.ts';

const CR = 0x0d;
const LF = 0x0a;
const SEMICOLON = 0x3b;
const COLON = 0x3a;
/** Hex digits of a chunk size, at most; twelve stay far below the largest safe integer. */
const SIZE_DIGITS = 12;
/** Bytes of chunk extensions and trailers in one body, at most: most are read only to be dropped (CVE-2024-22019). */
const OVERHEAD_BYTES = 16384;

/** Named for what the next byte must be. */
type State =
  | 'size'
  | 'extension'
  | 'size-lf'
  | 'data'
  | 'data-cr'
  | 'data-lf'
  | 'trailer-start'
  | 'trailer-name'
  | 'trailer-value'
  | 'trailer-lf'
  | 'last-lf'
  | 'done';

/**
 * Drops extensions and passes trailers on at the end, apart from all other fields. A bare CR or LF, a missing size or a
 * size with a sign is a fault.
 */
export class ChunkedBody implements BodyReader {
  #state: State = 'size';
  #digits = 0;
  #left = 0;
  #overhead = 0;
  readonly #extensions = new ChunkExtension();
  /** Name, value, name, value …; the last one is being read. */
  readonly #trailers: string[] = [];

  get done(): boolean {
    return this.#state === 'done';
  }

  get leftBytes(): number {
    return Math.max(1, this.#left);
  }

  read(chunk: Buffer, from: number, sink: BodySink): BodyProgress {
    let at = from;
    while (at < chunk.length && this.#state !== 'done') {
      if (this.#state === 'data') {
        at = this.#data(chunk, at, sink);
        continue;
      }
      const reason = this.#byte(chunk[at] ?? 0);
      if (reason !== undefined) return { kind: 'fault', reason };
      at += 1;
    }
    if (this.#state === 'done') sink.onBodyEnd(this.#trailers.map(trimBlanks));
    return at;
  }

  #data(chunk: Buffer, from: number, sink: BodySink): number {
    const end = Math.min(chunk.length, from + this.#left);
    this.#left -= end - from;
    if (this.#left === 0) this.#state = 'data-cr';
    sink.onBody(from === 0 && end === chunk.length ? chunk : chunk.subarray(from, end));
    return end;
  }

  #byte(byte: number): string | undefined {
    switch (this.#state) {
      case 'size':
        return this.#size(byte);
      case 'extension':
        return this.#extension(byte);
      case 'size-lf':
        return this.#expect(byte, LF, this.#left === 0 ? 'trailer-start' : 'data');
      case 'data-cr':
        return this.#expect(byte, CR, 'data-lf');
      case 'data-lf':
        return this.#expect(byte, LF, 'size');
      case 'last-lf':
        return this.#expect(byte, LF, 'done');
      case 'trailer-lf':
        return this.#expect(byte, LF, 'trailer-start');
      default:
        return this.#trailer(byte);
    }
  }

  #size(byte: number): string | undefined {
    const digit = hexValue(byte);
    if (digit >= 0) {
      if (this.#digits === 0) this.#left = 0;
      this.#digits += 1;
      this.#left = this.#left * 16 + digit;
      return this.#digits > SIZE_DIGITS ? 'a chunk size is too large' : undefined;
    }
    if (this.#digits === 0) return 'a chunk size is missing';
    if (byte !== CR && byte !== SEMICOLON) return 'a chunk size is not hexadecimal';
    this.#digits = 0;
    this.#state = byte === CR ? 'size-lf' : 'extension';
    return undefined;
  }

  #extension(byte: number): string | undefined {
    const outcome = this.#extensions.read(byte);
    if (typeof outcome === 'object') return outcome.reason;
    if (outcome === 'end') {
      this.#state = 'size-lf';
      return undefined;
    }
    return this.#counted(byte);
  }

  #trailer(byte: number): string | undefined {
    if (this.#state === 'trailer-start') {
      if (byte === CR) {
        this.#state = 'last-lf';
        return undefined;
      }
      this.#state = 'trailer-name';
      this.#trailers.push('');
    }
    if (this.#state === 'trailer-name') return this.#trailerName(byte);
    if (byte === CR) {
      this.#state = 'trailer-lf';
      return undefined;
    }
    return this.#trailerByte(byte);
  }

  #trailerName(byte: number): string | undefined {
    if (byte === COLON && this.#trailers.at(-1) !== '') {
      this.#state = 'trailer-value';
      this.#trailers.push('');
      return this.#counted(byte);
    }
    return isNameByte(byte) ? this.#trailerByte(byte) : 'a trailer is not a field';
  }

  #trailerByte(byte: number): string | undefined {
    this.#trailers[this.#trailers.length - 1] += String.fromCharCode(byte);
    return this.#counted(byte);
  }

  /** Counts a byte of an extension or a trailer. */
  #counted(byte: number): string | undefined {
    this.#overhead += 1;
    if (this.#overhead > OVERHEAD_BYTES) return 'chunk extensions and trailers are too long';
    return isControl(byte) ? 'a control character between chunks' : undefined;
  }

  #expect(byte: number, wanted: number, next: State): string | undefined {
    if (byte !== wanted) return 'a chunk does not end in CRLF';
    this.#state = next;
    return undefined;
  }
}

function hexValue(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

function isControl(byte: number): boolean {
  return (byte < 0x20 && byte !== 0x09) || byte === 0x7f;
}

/** `[A-Za-z0-9-]`, as in heads. */
function isNameByte(byte: number): boolean {
  const lower = byte | 0x20;
  return byte === 0x2d || (byte >= 0x30 && byte <= 0x39) || (lower >= 0x61 && lower <= 0x7a);
}
