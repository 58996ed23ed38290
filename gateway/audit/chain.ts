/**
 * The chain of the audit log: each line has a sequence number, the hash of the line before, and its own hash at its end:
 * SHA-256 over the bytes of the line before `,"hash":"…"}`. So no line can be changed, taken out, put in or moved without a
 * hash that does not fit; whoever rewrites all that follows as well is found by a hash noted elsewhere.
 */

import { hash, randomBytes } from 'node:crypto';

/** Where a chain stands. */
export interface ChainHead {
  /** Of the chain: every line bears it. */
  readonly chain: string;
  /** Of the last line; 0 before the first. */
  readonly sequence: number;
  /** Of the last line, hex; zeros before the first. */
  readonly hash: string;
}

/** A line that is whole in itself. */
export interface ChainLine extends ChainHead {
  /** Hash of the line before, as this one says. */
  readonly previous: string;
}

const NO_HASH = '0'.repeat(64);
const ID_BYTES = 8;
const SEAL = /^,"hash":"([0-9a-f]{64})"\}$/;
const SEAL_LENGTH = ',"hash":""}'.length + NO_HASH.length;
const START = /^\{"chain":"([0-9a-f]{16})","seq":([1-9][0-9]{0,15}),"prev":"([0-9a-f]{64})",/;
const START_BYTES = 256;

/** A chain that nothing was written to. */
export function newChain(): ChainHead {
  return { chain: randomBytes(ID_BYTES).toString('hex'), sequence: 0, hash: NO_HASH };
}

/** The next line, with its newline, and where the chain stands behind it; `body` is members of a JSON object. */
export function addLine(head: ChainHead, body: string): { readonly line: string; readonly head: ChainHead } {
  const { chain } = head;
  const sequence = head.sequence + 1;
  const sealed = `{"chain":"${chain}","seq":${sequence},"prev":"${head.hash}",${body}`;
  const own = hash('sha256', sealed, 'hex');
  return { line: `${sealed},"hash":"${own}"}\n`, head: { chain, sequence, hash: own } };
}

/** What the line says of its place; undefined where it is not as it was written. `line` has no newline. */
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
