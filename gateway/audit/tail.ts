/** Where the chain in a file ends, and what stands behind its last whole line. */

import { open } from 'node:fs/promises';
import { MIB } from '../core/units.ts';
import { type ChainHead, follows, readLine } from './chain.ts';

/** A line takes some KiB; what a power failure spoils is the last write. */
const TAIL_BYTES = 4 * MIB;
const NEWLINE = 0x0a;

export type Tail =
  /** `bytes`: up to the end of the last whole line, if there is one; `torn`: what stands behind it. */
  | { readonly kind: 'sound'; readonly head?: ChainHead; readonly bytes: number; readonly torn?: Buffer }
  /** Whole lines behind a spoiled one, or none where there should be some: that was no torn write. */
  | { readonly kind: 'damaged' };

/** Reads the end of the file; rejects where it cannot be read. */
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

function tailOf(bytes: Buffer, start: number): Tail {
  // The first line of a part of a file has lost its beginning.
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
  if (!isAnyWhole || hasWholeLine(torn)) return { kind: 'damaged' };
  return {
    kind: 'sound',
    bytes: start + from,
    ...(head !== undefined && { head }),
    ...(torn.length > 0 && { torn: Buffer.from(torn) }),
  };
}

function hasWholeLine(bytes: Buffer): boolean {
  let from = 0;
  for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, from)) {
    if (readLine(bytes.subarray(from, end)) !== undefined) return true;
    from = end + 1;
  }
  return false;
}
