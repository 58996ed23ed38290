/** llhttp, the HTTP parser of Node, in the WASM build that undici ships: one instance, many parsers. */

import { createRequire } from 'node:module';

const TYPE = { request: 1, response: 2 } as const;
export type HeadType = keyof typeof TYPE;

/** A callback that returns it stops llhttp at once; `llhttp_execute` then returns it as well. */
const PAUSED = 21;
/** Bytes passed to llhttp in one call, at most. */
export const WINDOW_BYTES = 16384;

/** The part of the WebAssembly API used here; TypeScript has its types only in the DOM library. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: unknown };
};

interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer };
  _initialize(): void;
  malloc(sizeBytes: number): number;
  llhttp_alloc(type: number): number;
  llhttp_free(parser: number): void;
  llhttp_reset(parser: number): void;
  llhttp_execute(parser: number, at: number, length: number): number;
  llhttp_get_error_pos(parser: number): number;
  llhttp_get_error_reason(parser: number): number;
  llhttp_get_method(parser: number): number;
  llhttp_method_name(method: number): number;
  llhttp_get_status_code(parser: number): number;
  llhttp_get_http_major(parser: number): number;
  llhttp_get_http_minor(parser: number): number;
}

/** The parts of a head whose offsets llhttp reports. */
export const PART = { target: 0, name: 1, value: 2 } as const;

/** Receives the parts of a head, as offsets into the bytes of the current `execute`. */
export interface SpanListener {
  /** `part` is one of `PART`. */
  onSpan(part: number, at: number, length: number): void;
}

/** How far `execute` got: through all bytes, to the end of the head, or to the byte that breaks the grammar. */
export interface Execution {
  readonly outcome: 'more' | 'head' | 'refused';
  readonly consumed: number;
}

/** The WASM instance. Parsers are numbers; the caller of `alloc` must call `free`. */
export class Llhttp {
  readonly #exports: Exports;
  readonly #windowAt: number;
  #window: Uint8Array;
  readonly #methods = new Map<number, string>();
  /** The listener of the current `execute`, from which all callbacks come synchronously. */
  #listener: SpanListener | undefined;

  constructor() {
    const module = new WebAssembly.Module(
      createRequire(import.meta.url)('undici/lib/llhttp/llhttp_simd-wasm.js'),
    );
    const ignore = (): number => 0;
    const imports = {
      wasm_on_url: (_: number, at: number, length: number) => this.#span(PART.target, at, length),
      wasm_on_header_field: (_: number, at: number, length: number) => this.#span(PART.name, at, length),
      wasm_on_header_value: (_: number, at: number, length: number) => this.#span(PART.value, at, length),
      wasm_on_headers_complete: () => PAUSED,
      wasm_on_message_begin: ignore,
      wasm_on_status: ignore,
      wasm_on_body: ignore,
      wasm_on_message_complete: ignore,
    };
    this.#exports = new WebAssembly.Instance(module, { env: imports }).exports as Exports;
    this.#exports._initialize();
    this.#windowAt = this.#exports.malloc(WINDOW_BYTES);
    this.#window = new Uint8Array(this.#exports.memory.buffer, this.#windowAt, WINDOW_BYTES);
  }

  alloc(type: HeadType): number {
    return this.#exports.llhttp_alloc(TYPE[type]);
  }

  free(parser: number): void {
    this.#exports.llhttp_free(parser);
  }

  /** Prepares the parser for the next head of the same connection. */
  reset(parser: number): void {
    this.#exports.llhttp_reset(parser);
  }

  /** Parses at most `WINDOW_BYTES` bytes, which it copies once. Stops behind the empty line that ends a head. */
  execute(parser: number, bytes: Uint8Array, listener: SpanListener): Execution {
    this.#view().set(bytes);
    this.#listener = listener;
    const errno = this.#exports.llhttp_execute(parser, this.#windowAt, bytes.length);
    this.#listener = undefined;
    if (errno === 0) return { outcome: 'more', consumed: bytes.length };
    const consumed = this.#exports.llhttp_get_error_pos(parser) - this.#windowAt;
    return { outcome: errno === PAUSED ? 'head' : 'refused', consumed };
  }

  /** Why the last `execute` refused its bytes, in llhttp's words. */
  reason(parser: number): string {
    return this.#text(this.#exports.llhttp_get_error_reason(parser));
  }

  method(parser: number): string {
    const code = this.#exports.llhttp_get_method(parser);
    let name = this.#methods.get(code);
    if (name === undefined) {
      name = this.#text(this.#exports.llhttp_method_name(code));
      this.#methods.set(code, name);
    }
    return name;
  }

  status(parser: number): number {
    return this.#exports.llhttp_get_status_code(parser);
  }

  major(parser: number): number {
    return this.#exports.llhttp_get_http_major(parser);
  }

  minor(parser: number): number {
    return this.#exports.llhttp_get_http_minor(parser);
  }

  /** The window, with a new view if the memory has grown, which empties earlier views. */
  #view(): Uint8Array {
    if (this.#window.length === 0) {
      this.#window = new Uint8Array(this.#exports.memory.buffer, this.#windowAt, WINDOW_BYTES);
    }
    return this.#window;
  }

  #span(part: number, at: number, length: number): number {
    this.#listener?.onSpan(part, at - this.#windowAt, length);
    return 0;
  }

  /** A C string of the module; llhttp's texts are ASCII. */
  #text(at: number): string {
    if (at === 0) return '';
    const memory = Buffer.from(this.#exports.memory.buffer);
    return memory.toString('latin1', at, memory.indexOf(0, at));
  }
}
