/**
 * Splits a byte budget into chunks for gateways and pieces for streams. A chunk bounds the unused bytes that others may
 * be refused; a piece bounds how often a stream is checked.
 */

import { MIB, type Rate } from '../core/units.ts';

const CHUNK_BYTES = 64 * MIB;
const PIECE_BYTES = MIB;
/** A chunk is at most 1/64 of the budget, so that a few gateways do not hoard all of a small one. */
const CHUNKS_IN_BUDGET = 64;
const PIECES_IN_CHUNK = 4;

/** Small enough that a few gateways together exceed the budget by less than 1 %. */
const SLACKS_IN_BUDGET = 1024;
const SLACK_BYTES = 64 * 1024;

/** Bytes that a gateway takes at once for one holder. */
export function chunkBytes({ count }: Rate): number {
  return Math.max(1, Math.min(CHUNK_BYTES, Math.floor(count / CHUNKS_IN_BUDGET)));
}

/** Bytes that a stream pays for in advance. */
export function pieceBytes(budget: Rate): number {
  return Math.max(1, Math.min(PIECE_BYTES, Math.floor(chunkBytes(budget) / PIECES_IN_CHUNK)));
}

/** Bytes a budget may be overdrawn before streams end, so that the answer to the upload that used it up passes. */
export function slackBytes({ count }: Rate): number {
  return Math.min(SLACK_BYTES, Math.floor(count / SLACKS_IN_BUDGET));
}
