/** Finds where the chain in a file begins and ends, and what follows its last whole line. */

import { open } from 'node:fs/promises';
import { MIB } from '../core/units.ts';
import { type ChainHead, type ChainLine, follows, readLine } from './chain.ts';

/** A line takes a few KiB, and a power failure damages only the last write. */
const TAIL_BYTES = 4 * MIB;
/** Of which the first line that is not spoiled is taken. */
const START_BYTES = 64 * 1024;
const NEWLINE = 0x0a;

export type Tail =
  /** `bytes`: up to the end of the last whole line, if there is one. `torn`: what follows it. */
  | { readonly kind: 'sound'; readonly head?: ChainHead; readonly bytes: number; readonly torn?: Buffer }
  /** A valid line follows an invalid one, or none is valid where one should be: not a torn write. */
  | { readonly kind: 'damaged' };

/** Reads at most `TAIL_BYTES` at the end of the file. Rejects if it cannot be read. */
export async function readTail(path: string): Promise<Tail> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const start = Math.max(0, size - TAIL_BYTES);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size - start), 0, size - start, start);
    return tailOf(buffer.subarray(0, bytesRead), start);
  } finally {
    await file.close();
  }
}

/** The first line near the beginning of the file that is as it was written, if any is; rejects where it cannot be read. */
export async function readStart(path: string): Promise<ChainLine | undefined> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(START_BYTES), 0, START_BYTES, 0);
    return firstWholeLine(buffer.subarray(0, bytesRead));
  } finally {
    await file.close();
  }
}

function tailOf(bytes: Buffer, start: number): Tail {
  // Read from the middle of the file, the first line has lost its beginning.
  let from = start === 0 ? 0 : bytes.indexOf(NEWLINE) + 1;
  let head: ChainHead | undefined;
  for (let end = bytes.indexOf(NEWLINE, from); end >= 0; end = bytes.indexOf(NEWLINE, from)) {
    const line = readLine(bytes.subarray(from, end));
    if (line === undefined || (head !== undefined && !follows(line, head))) break;
    head = { chain: line.chain, sequence: line.sequence, hash: line.hash };
    from = end + 1;
  }
  const torn = bytes.subarray(from);
  const isAnyWhole = head !== undefined || (start === 0 && !torn.includes(NEWLINE));
  if (!isAnyWhole || firstWholeLine(torn) !== undefined) return { kind: 'damaged' };
  return {
    kind: 'sound',
    bytes: start + from,
    ...(head !== undefined && { head }),
    ...(torn.length > 0 && { torn: Buffer.from(torn) }),
  };
}

function firstWholeLine(bytes: Buffer): ChainLine | undefined {
  let from = 0;
  for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, from)) {
    const line = readLine(bytes.subarray(from, end));
    if (line !== undefined) return line;
    from = end + 1;
  }
  return undefined;
}
