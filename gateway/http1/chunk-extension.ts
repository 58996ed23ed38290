/**
 * The extensions behind a chunk size (RFC 9112 §7.1.1). They are dropped, but parsed by their grammar, because a parser
 * that skips them differently finds another end of the line.
 */

const CR = 0x0d;
const EQUALS = 0x3d;
const SEMICOLON = 0x3b;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** `tchar` of RFC 9110 §5.6.2. */
const TOKEN: ReadonlySet<number> = new Set(
  Buffer.from("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
);

/** The state is named for what the next byte may be. */
type State = 'name-start' | 'name' | 'value-start' | 'value' | 'quoted' | 'escaped' | 'behind-quote';

/** Reads from behind the `;` to the CR, one byte at a time. White space between the parts is refused. */
export class ChunkExtension {
  #state: State = 'name-start';

  /** Returns `end` for the CR at the end, or why the byte is not allowed here. */
  read(byte: number): 'more' | 'end' | { readonly reason: string } {
    if (this.#endsPart()) {
      if (byte === CR) return this.#goTo('name-start', 'end');
      if (byte === SEMICOLON) return this.#goTo('name-start');
    }
    switch (this.#state) {
      case 'quoted':
        if (byte === QUOTE) return this.#goTo('behind-quote');
        return byte === BACKSLASH ? this.#goTo('escaped') : this.#text(byte, 'quoted');
      case 'escaped':
        return this.#text(byte, 'quoted');
      case 'name':
        return byte === EQUALS ? this.#goTo('value-start') : this.#token(byte, 'name');
      case 'name-start':
        return this.#token(byte, 'name');
      case 'value-start':
        return byte === QUOTE ? this.#goTo('quoted') : this.#token(byte, 'value');
      case 'value':
        return this.#token(byte, 'value');
      default:
        return FAULT;
    }
  }

  #endsPart(): boolean {
    return this.#state === 'name' || this.#state === 'value' || this.#state === 'behind-quote';
  }

  #token(byte: number, next: State): 'more' | { readonly reason: string } {
    return TOKEN.has(byte) ? this.#goTo(next) : FAULT;
  }

  #text(byte: number, next: State): 'more' | { readonly reason: string } {
    return (byte < 0x20 && byte !== 0x09) || byte === 0x7f ? FAULT : this.#goTo(next);
  }

  #goTo(state: State): 'more';
  #goTo<T extends string>(state: State, outcome: T): T;
  #goTo(state: State, outcome = 'more'): string {
    this.#state = state;
    return outcome;
  }
}

const FAULT = { reason: 'a chunk extension is malformed' };
