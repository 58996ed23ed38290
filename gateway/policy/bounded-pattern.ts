/** Regular expressions from a policy that are matched against callers' input: whole words, in bounded time. */

import { type Piece, piecesOf, type Sequence } from './pattern-pieces.ts';

/** Callers reject longer words before matching, so that even quadratic matching stays cheap. */
export const MAX_NAME_CHARACTERS = 255;
/** Limit on the ways to divide one word among the pieces. Trying one costs at most one step per character. */
const MAX_WAYS = 1024;

/**
 * Compiles an expression that must match the whole word; matching a part would admit every longer word. A string is the
 * error message: `text` is not a regular expression, or may backtrack excessively (CVE-2016-4055 and similar). A word
 * of n characters can be divided in 2^n ways if a repeated group itself varies in length, as in `(a+)+`, and in
 * n^(k-1) ways among k repetitions of the same characters, as in `a*a*a*`.
 */
export function compileNamePattern(text: string): RegExp | string {
  try {
    const { source } = new RegExp(text, 'u');
    return slowness(source) ?? new RegExp(`^(?:${source})$`, 'u');
  } catch {
    return 'is not a regular expression';
  }
}

/** Returns why a valid expression may be slow; undefined if it is not. */
function slowness(source: string): string | undefined {
  const choices = piecesOf(source);
  if (typeof choices === 'string') return `contains ${choices}, which can take unbounded time`;
  if (choices.flat().some(repeatsVaried)) {
    return 'repeats a group that itself varies in length or has alternatives, which can take unbounded time';
  }
  if (waysOfChoices(choices, []) <= MAX_WAYS) return undefined;
  return (
    `can divide a word among its repetitions in more than ${MAX_WAYS} ways: separate them by a character ` +
    'that the preceding one cannot match, or bound them, as in {1,20}'
  );
}

function repeatsVaried({ choices, most }: Piece): boolean {
  return (most > 1 && isVaried(choices)) || choices.flat().some(repeatsVaried);
}

/** Whether there are several alternatives, or a piece that varies in length. */
function isVaried(choices: readonly Sequence[]): boolean {
  return choices.length > 1 || choices.flat().some(varies);
}

function varies({ choices, least, most }: Piece): boolean {
  return least !== most || isVaried(choices);
}

/** Upper bound on the ways to divide one word: 1 for `[a-z]+-[a-z]+`, as `-` fixes the end; 255 for `[a-z]+[a-z]+`. */
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

/** Adds up only alternatives that can match the same word: `a[a-z]+|b[a-z]+` has the ways of one of them. */
function waysOfChoices(choices: readonly Sequence[], after: Sequence): number {
  const ways = choices.map((each) => waysOf(each, after));
  const together = choices.map((one) =>
    choices.reduce((sum, other, k) => sum + (exclude(one, other) ? 0 : (ways[k] ?? 0)), 0),
  );
  return Math.max(...together);
}

/** Whether no word can begin with both: at some position, after single characters only, their sets are disjoint. */
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
 * Upper bound on the lengths in which `rest` can make up for the length of the piece before it. Stops at a required
 * piece that begins with a character none before it can match: in `[a-z]+-[a-z]+` the `-` fixes where the first ends.
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
