/** Regular expressions of a policy that callers' words are held against: whole words, in a time that is bounded. */

/** A longer word matches none: what takes the square or the cube of it in time stays harmless. */
export const MOST_NAME_CHARACTERS = 255;

/** Escapes and classes as one piece each, so that no brace or bracket in them passes for another. */
const PIECE =
  /\\[pPu]\{[^}]*\}|\\k<[^>]*>|\\.|\[(?:\\.|[^\]\\])*\]|\(\?<?[=!]|\(\?[a-z-]*:|\(\?<[^>]*>|\{(?<least>\d+)(?<range>,(?<most>\d*))?\}\??|[*+?]\??|./gsu;
/** What looks elsewhere in the word than at the next character. */
const ELSEWHERE = /^(?:\\[1-9]|\\k<|\(\?<?[=!])/;

/**
 * The expression, which has to match whole words: half of one would let every longer one in. A sentence for text that
 * is none, and for one that may try a word in more ways than can be waited for (CVE-2016-4055 and its kind): where
 * what is repeated may itself match in different lengths, there are 2^n of them.
 */
export function compileNamePattern(text: string): RegExp | string {
  try {
    const { source } = new RegExp(text, 'u');
    return slowness(source) ?? new RegExp(`^(?:${source})$`, 'u');
  } catch {
    return 'is no regular expression';
  }
}

/** Why the expression, which is one, may be slow. */
function slowness(source: string): string | undefined {
  /** For each open group whether it matches in different ways, the innermost last. */
  const varied = [false];
  /** Whether the piece before does. */
  let before = false;
  for (const match of source.matchAll(PIECE)) {
    const [piece] = match;
    if (ELSEWHERE.test(piece)) return `holds ${piece}, which can take any time`;
    const [least, most] = repetition(piece, match.groups) ?? [1, 1];
    if (most > 1 && before) return 'repeats what is repeated or chosen within, which can take any time';
    if (piece.startsWith('(')) varied.push(false);
    before = piece === ')' && varied.pop() === true;
    if (before || piece === '|' || least !== most) varied[varied.length - 1] = true;
  }
  return undefined;
}

/** How often a quantifier lets the piece before it stand; nothing for other pieces. */
function repetition(piece: string, groups: Record<string, string> = {}): [number, number] | undefined {
  const { least, range, most } = groups;
  if (least !== undefined) {
    if (range === undefined) return [Number(least), Number(least)];
    return [Number(least), most === '' ? Number.POSITIVE_INFINITY : Number(most)];
  }
  if (piece.startsWith('*')) return [0, Number.POSITIVE_INFINITY];
  if (piece.startsWith('+')) return [1, Number.POSITIVE_INFINITY];
  return piece === '?' || piece === '??' ? [0, 1] : undefined;
}
