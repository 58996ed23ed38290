/** Regular expressions of a policy that callers' words are held against: whole words, in a time that is bounded. */

import { type Piece, piecesOf, type Sequence } from './pattern-pieces.ts';

/** A longer word matches none: what takes the square of it in time stays harmless. */
export const MAX_NAME_CHARACTERS = 255;
/** Ways in which one word may be divided among the pieces; each costs as many steps as the word has characters. */
const MAX_WAYS = 1024;

/**
 * The expression, which has to match whole words: half of one would let every longer one in. A sentence for text that
 * is none, and for one that may try a word in more ways than can be waited for (CVE-2016-4055 and its kind): where
 * what is repeated may itself match in different lengths, there are 2^n of them; where k repetitions of the same
 * characters follow each other, n^(k-1).
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
  const choices = piecesOf(source);
  if (typeof choices === 'string') return `holds ${choices}, which can take any time`;
  if (choices.flat().some(repeatsVaried)) {
    return 'repeats what is repeated or chosen within, which can take any time';
  }
  if (waysOfChoices(choices, []) <= MAX_WAYS) return undefined;
  return (
    `can divide a word among its repetitions in more than ${MAX_WAYS} ways: put a character between them ` +
    'that the one before cannot match, or bound them, like {1,20}'
  );
}

function repeatsVaried({ choices, most }: Piece): boolean {
  return (most > 1 && isVaried(choices)) || choices.flat().some(repeatsVaried);
}

/** Whether it matches in different ways. */
function isVaried(choices: readonly Sequence[]): boolean {
  return choices.length > 1 || choices.flat().some(varies);
}

function varies({ choices, least, most }: Piece): boolean {
  return least !== most || isVaried(choices);
}

/** At most so many ways to divide one word among the pieces. */
function waysOf(sequence: Sequence, after: Sequence): number {
  return sequence.reduce((ways, { choices, ...piece }, at) => {
    const rest = [...sequence.slice(at + 1), ...after];
    const within = choices.length === 0 ? 1 : waysOfChoices(choices, rest);
    return ways * within * Math.min(lengthsOf(piece), lengthsTraded(piece, rest));
  }, 1);
}

function lengthsOf({ least, most }: Pick<Piece, 'least' | 'most'>): number {
  return Math.min(most, MAX_NAME_CHARACTERS) - least + 1;
}

/** Of choices no more count than can match the same word. */
function waysOfChoices(choices: readonly Sequence[], after: Sequence): number {
  const ways = choices.map((each) => waysOf(each, after));
  const together = choices.map((one) =>
    choices.reduce((sum, other, k) => sum + (exclude(one, other) ? 0 : (ways[k] ?? 0)), 0),
  );
  return Math.max(...together);
}

/** Whether no word begins with both: they differ in a character that stands at the same place. */
function exclude(one: Sequence, other: Sequence): boolean {
  for (const [at, piece] of one.entries()) {
    const beside = other[at];
    if (beside === undefined || ![piece, beside].every(isOneCharacter)) return false;
    if ((piece.characters & beside.characters) === 0n) return true;
  }
  return false;
}

function isOneCharacter({ choices, least, most }: Piece): boolean {
  return choices.length === 0 && least === 1 && most === 1;
}

/**
 * In how many lengths those behind a piece can make up for its own, at most. Not those that follow what begins with a
 * character that neither the piece nor anything up to there can match: then there is one place where it may end.
 */
function lengthsTraded({ characters }: Pick<Piece, 'characters'>, rest: Sequence): number {
  let lengths = 1;
  let reached = characters;
  for (const piece of rest) {
    const isApart = beginsApart(piece, reached);
    if (isApart && piece.least > 0) break;
    if (isApart) continue;
    if (varies(piece) && (piece.characters & reached) !== 0n)
      lengths *= piece.choices.length > 0 ? Number.POSITIVE_INFINITY : lengthsOf(piece);
    reached |= piece.characters;
  }
  return lengths;
}

function beginsApart({ characters, choices }: Piece, from: bigint): boolean {
  if (choices.length === 0) return (characters & from) === 0n;
  return choices.every(([first]) => first !== undefined && first.least > 0 && beginsApart(first, from));
}
