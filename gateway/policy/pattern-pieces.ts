/** A regular expression taken apart, as far as it has to be known in how many ways it may try a word. */

/** One character out of a set, or a group: a choice among sequences of pieces. */
export interface Piece {
  /** What may stand in it: bit n for U+00nn. Words of a path hold no other characters. */
  readonly characters: bigint;
  /** Empty for a character. */
  readonly choices: readonly Sequence[];
  readonly least: number;
  readonly most: number;
}

export type Sequence = readonly Piece[];

/** Escapes and classes as one token each, so that no brace or bracket in them passes for another. */
const TOKEN =
  /\\[pPu]\{[^}]*\}|\\u[0-9a-f]{4}|\\x[0-9a-f]{2}|\\c[a-z]|\\k<[^>]*>|\\.|\[(?:\\.|[^\]\\])*\]|\(\?<?[=!]|\(\?[a-z-]*:|\(\?<[^>]*>|\{(?<least>\d+)(?<range>,(?<most>\d*))?\}\??|[*+?]\??|./gisu;
/** What looks elsewhere in the word than at the next character. */
const ELSEWHERE = /^(?:\\[1-9]|\\k<|\(\?<?[=!])/;
/** What takes no character. */
const PLACES: ReadonlySet<string> = new Set(['^', '$', '\\b', '\\B']);

/** The choices of an expression that is one. The token, where one of them looks elsewhere: such are not taken apart. */
export function piecesOf(source: string): readonly Sequence[] | string {
  const whole: OpenGroup = [[]];
  const open = [whole];
  for (const { 0: token, groups } of source.matchAll(TOKEN)) {
    if (ELSEWHERE.test(token)) return token;
    take(open, token, repetition(token, groups));
  }
  return whole;
}

/** What stands in a group so far; the last sequence is the one that grows. */
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

/** How often a quantifier lets the piece before it stand; nothing for other tokens. */
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

/** In either case, as the groups around it may say. */
function character(token: string): Piece {
  const [exact, anyCase] = [new RegExp(`^${token}$`, 'su'), new RegExp(`^${token}$`, 'siu')];
  let characters = 0n;
  for (let code = 0; code < 256; code++) {
    const text = String.fromCharCode(code);
    if (exact.test(text) || anyCase.test(text)) characters |= 1n << BigInt(code);
  }
  return { characters, choices: [], least: 1, most: 1 };
}
