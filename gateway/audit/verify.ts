/** Finds lines that were changed, removed, inserted or moved in the files of an audit log. */

import { createReadStream } from 'node:fs';
import { MIB } from '../core/units.ts';
import { type ChainHead, type ChainLine, follows, readLine } from './chain.ts';

/** A chain, as far as the files contain it. */
export interface VerifiedChain {
  readonly chain: string;
  readonly lines: number;
  /** Number of the first line found; above 1 if earlier lines are not in these files. */
  readonly firstSequence: number;
  readonly firstHash: string;
  readonly head: ChainHead;
}

export interface VerificationReport {
  readonly chains: readonly VerifiedChain[];
  /** `file:line: problem`, at most `MAX_FAULTS`; `more` counts the rest. */
  readonly faults: readonly string[];
  readonly more: number;
  /** Hashes in `contains` that no line has. */
  readonly missing: readonly string[];
}

const MAX_FAULTS = 100;
const MAX_LINE_BYTES = MIB;
const PIECE_BYTES = 65_536;
const NEWLINE = 0x0a;

/** Verifies files, in any order. `contains`: hashes that lines must have. Rejects if a file cannot be read. */
export async function verifyFiles(
  files: readonly string[],
  contains: readonly string[] = [],
): Promise<VerificationReport> {
  const ordered = await inOrder(files);
  const verifier = new Verifier(contains);
  for (const file of ordered) await verifier.take(file);
  return verifier.result();
}

/** Sorts by chain, then by the number of the first line; a file with an invalid first line keeps its position. */
async function inOrder(files: readonly string[]): Promise<readonly string[]> {
  const firsts: { readonly file: string; readonly first: ChainLine | undefined }[] = [];
  for (const file of files) firsts.push({ file, first: await firstLine(file) });
  const known = firsts.filter((each) => each.first !== undefined);
  known.sort(({ first: a }, { first: b }) => byPlace(a, b));
  return firsts.map((each) => (each.first === undefined ? each.file : (known.shift()?.file ?? each.file)));
}

function byPlace(a: ChainLine | undefined, b: ChainLine | undefined): number {
  if (a === undefined || b === undefined) return 0;
  if (a.chain !== b.chain) return a.chain < b.chain ? -1 : 1;
  return a.sequence - b.sequence;
}

async function firstLine(file: string): Promise<ChainLine | undefined> {
  for await (const { bytes } of linesOf(file)) return readLine(bytes);
  return undefined;
}

class Verifier {
  readonly #chains = new Map<string, { lines: number; first: ChainLine; head: ChainHead }>();
  readonly #missing: Set<string>;
  readonly #faults: string[] = [];
  #more = 0;
  /** The previous line was invalid, which may be why the next one does not follow. */
  #isBroken = false;

  constructor(contains: readonly string[]) {
    this.#missing = new Set(contains);
  }

  async take(file: string): Promise<void> {
    let number = 0;
    for await (const { bytes, isWhole } of linesOf(file)) {
      number += 1;
      const place = `${file}:${number}`;
      const line = isWhole ? readLine(bytes) : undefined;
      if (line !== undefined) this.#takeLine(place, line);
      else {
        this.#isBroken = true;
        this.#fault(
          place,
          isWhole ? 'line is malformed or was changed after it was written' : 'incomplete line',
        );
      }
    }
  }

  result(): VerificationReport {
    const chains = [...this.#chains].map(([chain, { lines, first, head }]) => ({
      chain,
      lines,
      firstSequence: first.sequence,
      firstHash: first.hash,
      head,
    }));
    return { chains, faults: this.#faults, more: this.#more, missing: [...this.#missing] };
  }

  #takeLine(place: string, line: ChainLine): void {
    this.#missing.delete(line.hash);
    const { chain, sequence, hash } = line;
    const known = this.#chains.get(chain);
    const head = { chain, sequence, hash };
    if (known === undefined) {
      this.#chains.set(chain, { lines: 1, first: line, head });
      if (sequence === 1 && !/^0+$/.test(line.previous))
        this.#fault(place, 'line 1 of the chain names a previous line');
    } else {
      if (!follows(line, known.head)) this.#fault(place, whatIsWrong(line, known.head, this.#isBroken));
      known.lines += 1;
      known.head = head;
    }
    this.#isBroken = false;
  }

  #fault(place: string, problem: string): void {
    if (this.#faults.length < MAX_FAULTS) this.#faults.push(`${place}: ${problem}`);
    else this.#more += 1;
  }
}

function whatIsWrong(line: ChainLine, head: ChainHead, isBroken: boolean): string {
  const [expected, found] = [head.sequence + 1, line.sequence];
  if (isBroken && found > expected)
    return `line ${found} of the chain: lines ${expected} to ${found - 1} are missing or invalid`;
  if (found > expected) return `line ${found} of the chain: lines ${expected} to ${found - 1} are missing`;
  if (found < expected)
    return `line ${found} of the chain comes after line ${head.sequence}: it was inserted or moved`;
  return `does not follow the previous line: one of the two was changed together with its hash`;
}

interface FileLine {
  /** Without the newline. */
  readonly bytes: Buffer;
  readonly isWhole: boolean;
}

async function* linesOf(file: string): AsyncGenerator<FileLine> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const piece of createReadStream(file, { highWaterMark: PIECE_BYTES })) {
    const bytes = rest.length === 0 ? (piece as Buffer) : Buffer.concat([rest, piece as Buffer]);
    let from = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, from)) {
      yield { bytes: bytes.subarray(from, end), isWhole: true };
      from = end + 1;
    }
    rest = bytes.subarray(from);
    if (rest.length > MAX_LINE_BYTES) {
      yield { bytes: rest, isWhole: false };
      rest = Buffer.alloc(0);
    }
  }
  if (rest.length > 0) yield { bytes: rest, isWhole: false };
}
