/**
 * How a byte budget is handed out: to gateways in chunks, to streams in pieces. A chunk is what others may be refused though
 * nobody has used it; a piece is how rarely a stream is looked at.
 */

import { MIB, type Rate } from '../core/units.ts';

const CHUNK_BYTES = 64 * MIB;
const PIECE_BYTES = MIB;
/** Of a small budget a chunk is no more than this part, so that a few gateways do not hoard all of it. */
const CHUNKS_IN_BUDGET = 64;
const PIECES_IN_CHUNK = 4;

/** Small enough that a few gateways stay within a hundredth of the budget. */
const SLACKS_IN_BUDGET = 1024;
const SLACK_BYTES = 64 * 1024;

/** Bytes a gateway takes at once for one holder. */
export function chunkBytes({ count }: Rate): number {
  return Math.max(1, Math.min(CHUNK_BYTES, Math.floor(count / CHUNKS_IN_BUDGET)));
}

/** Bytes a stream pays for ahead. */
export function pieceBytes(budget: Rate): number {
  return Math.max(1, Math.min(PIECE_BYTES, Math.floor(chunkBytes(budget) / PIECES_IN_CHUNK)));
}

/** Bytes a budget may be over before streams end: the answer to an upload that used it up goes through, and is owed. */
export function slackBytes({ count }: Rate): number {
  return Math.min(SLACK_BYTES, Math.floor(count / SLACKS_IN_BUDGET));
}
