/**
 * The hash chain of the audit log. Each line holds a sequence number, the hash of the previous line and, at its end,
 * its own hash: SHA-256 over the bytes of the line up to `,"hash":"…"}`. Changing, removing, inserting or moving a line
 * leaves a hash that does not match. Rewriting all later lines as well is detected by a hash noted elsewhere.
 */

import { hash, randomBytes } from 'node:crypto';

/** The end of a chain. */
export interface ChainHead {
  /** Identifies the chain; on every line. 16 hex digits. */
  readonly chain: string;
  /** Number of the last line; 0 before the first. */
  readonly sequence: number;
  /** Hash of the last line, hex; zeros before the first. */
  readonly hash: string;
}

/** A line whose own hash matches. */
export interface ChainLine extends ChainHead {
  /** Hash of the previous line, as this one states it. */
  readonly previous: string;
}

const NO_HASH = '0'.repeat(64);
const ID_BYTES = 8;
const SEAL = /^,"hash":"([0-9a-f]{64})"\}$/;
const SEAL_LENGTH = ',"hash":""}'.length + NO_HASH.length;
const START = /^\{"chain":"([0-9a-f]{16})","seq":([1-9][0-9]{0,15}),"prev":"([0-9a-f]{64})",/;
const START_BYTES = 256;

export function newChain(): ChainHead {
  return { chain: randomBytes(ID_BYTES).toString('hex'), sequence: 0, hash: NO_HASH };
}

/** Returns the next line, with its newline, and the chain's new head. `body`: JSON object members, without braces. */
export function addLine(head: ChainHead, body: string): { readonly line: string; readonly head: ChainHead } {
  const { chain } = head;
  const sequence = head.sequence + 1;
  const sealed = `{"chain":"${chain}","seq":${sequence},"prev":"${head.hash}",${body}`;
  const own = hash('sha256', sealed, 'hex');
  return { line: `${sealed},"hash":"${own}"}\n`, head: { chain, sequence, hash: own } };
}

/** Parses a line, without its newline. Returns undefined if it is malformed or its hash does not match. */
export function readLine(line: Buffer): ChainLine | undefined {
  const end = line.length - SEAL_LENGTH;
  if (end < 0) return undefined;
  const [, own] = SEAL.exec(line.toString('latin1', end)) ?? [];
  const [, chain, sequence, previous] =
    START.exec(line.toString('latin1', 0, Math.min(end, START_BYTES))) ?? [];
  if (own === undefined || chain === undefined || previous === undefined) return undefined;
  if (hash('sha256', line.subarray(0, end), 'hex') !== own) return undefined;
  return { chain, sequence: Number(sequence), previous, hash: own };
}

/** Whether the line is the next one of the chain. */
export function follows(line: ChainLine, head: ChainHead): boolean {
  return line.chain === head.chain && line.sequence === head.sequence + 1 && line.previous === head.hash;
}
