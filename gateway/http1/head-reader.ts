/** Reads one HTTP/1.1 head after another from the bytes of a connection, however they are split. */

import { trimBlanks } from '../core/blanks.ts';
import { type HeadType, type Llhttp, PART, type SpanListener, WINDOW_BYTES } from './llhttp.ts';

/** A head as llhttp parsed it: strict in syntax, not yet checked by our rules. */
export interface RawHead {
  /** Empty for responses. */
  readonly method: string;
  /** Empty for responses. */
  readonly target: string;
  /** 0 for requests. */
  readonly status: number;
  readonly major: number;
  readonly minor: number;
  /** Name, value, name, value …, as sent, values without surrounding white space. */
  readonly fields: readonly string[];
}

/** The limit or rule a head broke; `reason` describes it, without a full stop. */
export interface HeadFault {
  readonly kind: 'fault';
  readonly rule: 'syntax' | 'head-too-large' | 'target-too-long' | 'too-many-fields';
  readonly reason: string;
}

export type HeadProgress =
  | { readonly kind: 'more' }
  | {
      readonly kind: 'head';
      readonly head: RawHead;
      /** The offset of the bytes behind the head. */
      readonly end: number;
    }
  | HeadFault;

export interface HeadLimits {
  /** Bytes of start line and field lines together. */
  readonly headBytes: number;
  readonly headFields: number;
}

/** A longer request target is answered 414; RFC 9112 §3 recommends supporting at least 8000 octets. */
const TARGET_BYTES = 8192;
/** A longer head is not remembered, because it would be kept as long as the connection. */
const REMEMBERED_BYTES = 2048;
const MORE: HeadProgress = { kind: 'more' };

function syntaxFault(reason: string): HeadFault {
  return { kind: 'fault', rule: 'syntax', reason };
}

/** Reads the heads of one connection, in one direction. Holds a parser of the WASM instance until `close`. */
export class HeadReader {
  readonly #llhttp: Llhttp;
  readonly #type: HeadType;
  readonly #limits: HeadLimits;
  readonly #parser: number;
  readonly #spans = new HeadSpans();
  #text = '';
  #endsInCr = false;
  #startIsChecked = false;
  #last: { readonly text: string; readonly head: RawHead } | undefined;
  #isFirst = true;
  #closed = false;

  constructor(llhttp: Llhttp, type: HeadType, limits: HeadLimits) {
    this.#llhttp = llhttp;
    this.#type = type;
    this.#limits = limits;
    this.#parser = llhttp.alloc(type);
  }

  /** Whether bytes of an unfinished head have been read. */
  get started(): boolean {
    return this.#text.length > 0;
  }

  /**
   * Reads on at `from`. After a head the next call begins the next one; after a fault the connection is unusable. For
   * the same bytes as those of the last head it returns the same head object; the first head is not remembered, because
   * many connections send one and stay idle.
   */
  read(chunk: Buffer, from: number): HeadProgress {
    return this.#again(chunk, from) ?? this.#read(chunk, from);
  }

  /** Returns the last head if its bytes come again: the parser starts every head in the same state. */
  #again(chunk: Buffer, from: number): HeadProgress | undefined {
    const last = this.#last;
    if (last === undefined || this.#text !== '') return undefined;
    const end = from + last.text.length;
    return chunk.toString('latin1', from, end) === last.text
      ? { kind: 'head', head: last.head, end }
      : undefined;
  }

  #read(chunk: Buffer, from: number): HeadProgress {
    let at = from;
    while (at < chunk.length) {
      const end = Math.min(chunk.length, at + WINDOW_BYTES);
      this.#spans.base = this.#text.length;
      const { outcome, consumed } = this.#llhttp.execute(this.#parser, chunk.subarray(at, end), this.#spans);
      const piece = chunk.toString('latin1', at, at + consumed);
      this.#text += piece;
      const fault = this.#overLimit() ?? (outcome === 'refused' ? this.#refusal() : this.#looseLine(piece));
      if (fault !== undefined) return fault;
      at += consumed;
      if (outcome === 'head') return { kind: 'head', head: this.#take(), end: at };
    }
    return MORE;
  }

  /** Frees the parser. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#llhttp.free(this.#parser);
  }

  #overLimit(): HeadFault | undefined {
    const { headBytes, headFields } = this.#limits;
    if (this.#spans.targetLength > TARGET_BYTES) {
      return {
        kind: 'fault',
        rule: 'target-too-long',
        reason: `The request target is longer than ${TARGET_BYTES} bytes`,
      };
    }
    if (this.#text.length > headBytes) {
      return { kind: 'fault', rule: 'head-too-large', reason: `The head is larger than ${headBytes} bytes` };
    }
    if (this.#spans.fieldCount > headFields) {
      return {
        kind: 'fault',
        rule: 'too-many-fields',
        reason: `The head has more than ${headFields} fields`,
      };
    }
    return undefined;
  }

  #refusal(): HeadFault {
    return syntaxFault(this.#llhttp.reason(this.#parser));
  }

  /**
   * Refuses what llhttp accepts: a CR without LF, more than one space in the request line, the preface of HTTP/2,
   * HTTP/0.9 (RFC 9112 §2.2, §3). Checks only the new piece, because a head may come byte by byte.
   */
  #looseLine(piece: string): HeadFault | undefined {
    if (this.#hasBareCr(piece)) return syntaxFault('Expected LF after CR');
    if (this.#llhttp.major(this.#parser) > 1) return syntaxFault('Unsupported HTTP version');
    if (this.#startIsChecked || this.#type === 'response' || this.#spans.fieldCount === 0) return undefined;
    this.#startIsChecked = this.#spans.spacedOnce(this.#text);
    return this.#startIsChecked ? undefined : syntaxFault('Expected single spaces in the request line');
  }

  #hasBareCr(piece: string): boolean {
    if (piece === '') return false;
    if (this.#endsInCr && piece[0] !== '\n') return true;
    this.#endsInCr = piece.endsWith('\r');
    let at = piece.indexOf('\r');
    while (at >= 0 && (at + 1 === piece.length || piece[at + 1] === '\n')) at = piece.indexOf('\r', at + 1);
    return at >= 0;
  }

  #take(): RawHead {
    const request = this.#type === 'request';
    const head = {
      method: request ? this.#llhttp.method(this.#parser) : '',
      target: this.#spans.target(this.#text),
      status: request ? 0 : this.#llhttp.status(this.#parser),
      major: this.#llhttp.major(this.#parser),
      minor: this.#llhttp.minor(this.#parser),
      fields: this.#spans.fields(this.#text),
    };
    this.#llhttp.reset(this.#parser);
    this.#spans.clear();
    const isRemembered = !this.#isFirst && this.#text.length <= REMEMBERED_BYTES;
    this.#last = isRemembered ? { text: this.#text, head } : undefined;
    if (this.#isFirst) this.#spans.shrink();
    this.#isFirst = false;
    this.#text = '';
    this.#endsInCr = false;
    this.#startIsChecked = false;
    return head;
  }
}

/**
 * The offsets of target, names and values in the text of the head. llhttp reports a span in pieces if its bytes come in
 * pieces, so consecutive reports of one kind are one span.
 */
class HeadSpans implements SpanListener {
  /** Offset of the current `execute` in the text of the head. */
  base = 0;
  #targetFrom = 0;
  #targetTo = 0;
  /** Name start, name end, value start, value end of each field; behind `#count`, leftovers of longer heads. */
  readonly #lines: number[] = [];
  #count = 0;
  #last: number = PART.target;

  get targetLength(): number {
    return this.#targetTo - this.#targetFrom;
  }

  get fieldCount(): number {
    return Math.ceil(this.#count / 4);
  }

  onSpan(part: number, at: number, length: number): void {
    const from = this.base + at;
    if (part === PART.target) {
      if (this.#targetTo === 0) this.#targetFrom = from;
      this.#targetTo = from + length;
      return;
    }
    if (this.#last === part) this.#count -= 1;
    else this.#lines[this.#count++] = from;
    this.#lines[this.#count++] = from + length;
    this.#last = part;
  }

  /** Whether there is one space before the target, and one behind it followed by the version. */
  spacedOnce(text: string): boolean {
    return text.charCodeAt(this.#targetFrom - 2) !== 0x20 && text.startsWith(' HTTP/1.', this.#targetTo);
  }

  target(text: string): string {
    return text.slice(this.#targetFrom, this.#targetTo);
  }

  fields(text: string): string[] {
    const fields: string[] = [];
    for (let i = 0; i < this.#count; i += 2) {
      const part = text.slice(this.#lines[i], this.#lines[i + 1]);
      // llhttp leaves white space at the end of a value (RFC 9110 §5.5).
      fields.push(i % 4 === 2 ? trimBlanks(part) : part);
    }
    return fields;
  }

  /** Frees what `clear` keeps for the next head. */
  shrink(): void {
    this.#lines.length = 0;
  }

  clear(): void {
    this.base = 0;
    this.#targetFrom = 0;
    this.#targetTo = 0;
    this.#count = 0;
    this.#last = PART.target;
  }
}
