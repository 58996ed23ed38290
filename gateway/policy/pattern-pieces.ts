/** Parses a regular expression as far as needed to count the ways in which it may try a word. */

/** One character of a set, or a group of alternatives, each of them a sequence of pieces. */
export interface Piece {
  /** Bit n stands for U+00nn: `[ab]` is `1n << 97n | 1n << 98n`. Path parameters contain no other characters. */
  readonly characters: bigint;
  /** Empty for a character. */
  readonly choices: readonly Sequence[];
  readonly least: number;
  readonly most: number;
}

export type Sequence = readonly Piece[];

/** Matches escapes and classes as one token each, so that braces and brackets in them are not taken for syntax. */
const TOKEN =
  /\\[pPu]\{[^}]*\}|\\u[0-9a-f]{4}|\\x[0-9a-f]{2}|\\c[a-z]|\\k<[^>]*>|\\.|\[(?:\\.|[^\]\\])*\]|\(\?<?[=!]|\(\?[a-z-]*:|\(\?<[^>]*>|\{(?<least>\d+)(?<range>,(?<most>\d*))?\}\??|[*+?]\??|./gisu;
/** Tokens that do not look at the next character: back references and look-around. */
const ELSEWHERE = /^(?:\\[1-9]|\\k<|\(\?<?[=!])/;
/** Tokens that consume no character. */
const PLACES: ReadonlySet<string> = new Set(['^', '$', '\\b', '\\B']);

/** Returns the alternatives of a valid expression, or its first back reference or look-around as an error. */
export function piecesOf(source: string): readonly Sequence[] | string {
  const whole: OpenGroup = [[]];
  const open = [whole];
  for (const { 0: token, groups } of source.matchAll(TOKEN)) {
    if (ELSEWHERE.test(token)) return token;
    take(open, token, repetition(token, groups));
  }
  return whole;
}

/** A group being parsed; pieces are added to its last sequence. */
type OpenGroup = Piece[][];

function take(open: OpenGroup[], token: string, repeated: ReturnType<typeof repetition>): void {
  const choices = open.at(-1) ?? [];
  const sequence = choices.at(-1) ?? [];
  const before = repeated && sequence.pop();
  if (before !== undefined) sequence.push({ ...before, ...repeated });
  else if (token === '|') choices.push([]);
  else if (token.startsWith('(')) open.push([[]]);
  else if (token === ')') {
    open.pop();
    open.at(-1)?.at(-1)?.push(group(choices));
  } else if (!PLACES.has(token)) sequence.push(character(token));
}

/** Returns how often a quantifier repeats the preceding piece; undefined for other tokens. */
function repetition(
  token: string,
  { least, range, most }: Readonly<Record<string, string>> = {},
): Pick<Piece, 'least' | 'most'> | undefined {
  if (least !== undefined) {
    if (range === undefined) return { least: Number(least), most: Number(least) };
    return { least: Number(least), most: most === '' ? Number.POSITIVE_INFINITY : Number(most) };
  }
  if (token.startsWith('*')) return { least: 0, most: Number.POSITIVE_INFINITY };
  if (token.startsWith('+')) return { least: 1, most: Number.POSITIVE_INFINITY };
  return token === '?' || token === '??' ? { least: 0, most: 1 } : undefined;
}

function group(choices: readonly Sequence[]): Piece {
  const characters = choices.flat().reduce((all, piece) => all | piece.characters, 0n);
  return { characters, choices, least: 1, most: 1 };
}

/** Matches both cases, since an enclosing group may ignore case: `(?i:a)`. */
function character(token: string): Piece {
  const [exact, anyCase] = [new RegExp(`^${token}$`, 'su'), new RegExp(`^${token}$`, 'siu')];
  let characters = 0n;
  for (let code = 0; code < 256; code++) {
    const text = String.fromCharCode(code);
    if (exact.test(text) || anyCase.test(text)) characters |= 1n << BigInt(code);
  }
  return { characters, choices: [], least: 1, most: 1 };
}
