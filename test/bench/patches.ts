/** Weight patches by themselves: sizes beside those to reach, and speeds of check, apply and diff beside a floor of the machine. */

import { crc32 } from 'node:zlib';
import { createPatchCheck, type PatchCheckMode } from '../../gateway/patch/check.ts';
import { changedWords } from '../../gateway/patch/compare.ts';
import { diffModels, type TensorChange } from '../../gateway/patch/diff.ts';
import { decodeIndices } from '../../gateway/patch/index-encoding.ts';
import { MAX_WRITTEN_ELEMENTS, type ValueEncoding, valueSizes } from '../../gateway/patch/layout.ts';
import { type Frame, readPatch } from '../../gateway/patch/read.ts';
import type { SafetensorsFile } from '../../gateway/patch/safetensors.ts';
import { gatherElements } from '../../gateway/patch/scatter.ts';
import { setElements } from '../../gateway/patch/set-elements.ts';
import { writePatch } from '../../gateway/patch/write.ts';
import { gather, inChunks } from '../patch/random-model.ts';
import { SeededRandom } from '../patch/seeded-random.ts';

const elements = 10_000_000;
const tensor = { tensorId: 0, name: 'w', dtype: 'F32' as const, shape: [elements], elementCount: elements };
/** What a read from a TLS connection brings at most. */
const chunkBytes = 64 * 1024;

/** So many elements, anywhere or in runs of 32 on average. */
export function chosen(count: number, runLength: 1 | 32, seed = 130): Float64Array {
  const random = new SeededRandom(seed);
  const taken = new Uint8Array(elements);
  for (let left = count; left > 0; ) {
    const first = random.below(elements);
    const length = runLength === 1 ? 1 : 1 + random.below(2 * runLength - 1);
    for (let at = first; at < Math.min(first + length, elements) && left > 0; at++) {
      if (taken[at] === 0) left -= 1;
      taken[at] = 1;
    }
  }
  const indices = new Float64Array(count);
  let found = 0;
  for (let at = 0; at < elements; at++) if (taken[at] === 1) indices[found++] = at;
  return indices;
}

/** The stream that sets these elements, in the given value encoding. */
export async function streamOf(indices: Float64Array, encoding: ValueEncoding): Promise<Buffer> {
  const size = valueSizes[encoding];
  function* changes(): Generator<TensorChange> {
    for (let from = 0; from < indices.length; from += MAX_WRITTEN_ELEMENTS) {
      const part = indices.subarray(from, from + MAX_WRITTEN_ELEMENTS);
      yield { tensor, indices: part, values: Buffer.alloc(part.length * size, 1), encoding, scale: 0.5 };
    }
  }
  const identity = {
    ...{ modelId: 'bench', baseVersion: 0, targetVersion: 1, epoch: 1, tensorCount: 1, threshold: 0 },
    ...{ totalParams: elements, totalChanged: indices.length, streamId: Buffer.alloc(16, 1) },
    ...{ baseDigest: Buffer.alloc(32), targetDigest: Buffer.alloc(32) },
  };
  return gather(writePatch(identity, changes()));
}

export interface SizeRow {
  readonly share: number;
  readonly runLength: 1 | 32;
  readonly encoding: ValueEncoding;
  readonly changes: number;
  readonly bytes: number;
  /** The size the format is made to reach, in bytes. */
  readonly aim: number;
}

/** Megabytes to reach, by share, for random changes and runs. */
const aims: Readonly<Record<'f32' | 'bf16' | 'i8', Readonly<Record<1 | 32, readonly number[]>>>> = {
  f32: { 1: [0.529, 1.509, 5.01], 32: [0.431, 1.25, 4.154] },
  bf16: { 1: [0.328, 0.908, 3.006], 32: [0.221, 0.639, 2.119] },
  i8: { 1: [0.228, 0.608, 2.005], 32: [0.115, 0.334, 1.102] },
};

/**
 * As many changes as the sizes to reach are of. Where changes come in runs these are more than the share of the model: a
 * change takes two bytes more in float32 than in bfloat16, and nothing else differs between those two columns.
 */
function changesOf(share: number, runLength: 1 | 32, row: number): number {
  if (runLength === 1) return share * elements;
  return Math.round((((aims.f32[32][row] ?? 0) - (aims.bf16[32][row] ?? 0)) * 1e6) / 2);
}

export async function measureSizes(): Promise<readonly SizeRow[]> {
  const rows: SizeRow[] = [];
  for (const runLength of [1, 32] as const) {
    for (const [k, share] of [0.01, 0.03, 0.1].entries()) {
      const changes = changesOf(share, runLength, k);
      const indices = chosen(changes, runLength);
      for (const encoding of ['f32', 'bf16', 'i8'] as const) {
        const { length: bytes } = await streamOf(indices, encoding);
        const aim = (aims[encoding][runLength][k] ?? 0) * 1e6;
        rows.push({ share, runLength, encoding, changes, bytes, aim });
      }
    }
  }
  return rows;
}

/** Rounds before any is counted. */
const warmRounds = 5;
/** Rounds of a few milliseconds are run so often as many: a busy machine leaves few of them alone. */
export const OFTEN = 10;

/**
 * The best of the rounds, in milliseconds: what other processes take is only ever added. In each round every one of the
 * works runs once, so that a slow minute meets all alike.
 */
async function inTurns(
  works: Readonly<Record<string, () => unknown>>,
  rounds: number,
): Promise<Record<string, number>> {
  const best: Record<string, number> = {};
  for (let round = -warmRounds; round < rounds; round++) {
    for (const [name, work] of Object.entries(works)) {
      const before = performance.now();
      await work();
      const ms = performance.now() - before;
      if (round >= 0) best[name] = Math.min(best[name] ?? ms, ms);
    }
  }
  return best;
}

export interface CheckSpeeds {
  readonly bytes: number;
  /** Milliseconds of each mode, and of the CRC over the same chunks. */
  readonly ms: Readonly<Record<string, number>>;
}

/** The check of a patch that changes each fourth element, beside `zlib.crc32` alone. */
export async function measureChecks(rounds: number): Promise<CheckSpeeds> {
  const stream = await streamOf(chosen(elements / 4, 1), 'f32');
  const passed = (mode: PatchCheckMode) => () => {
    const check = createPatchCheck(mode, { content: { maxAbs: 1e30 } });
    for (const chunk of inChunks(stream, chunkBytes)) check.accept(chunk, () => {});
    if (check.finish(() => {}) !== undefined) throw new Error('a good stream was refused');
  };
  const floor = () => {
    let sum = 0;
    for (const chunk of inChunks(stream, chunkBytes)) sum = crc32(chunk, sum);
    return sum;
  };
  const works = { crc32: floor, header: passed('header'), deep: passed('deep'), values: passed('values') };
  return { bytes: stream.length, ms: await inTurns(works, OFTEN * rounds) };
}

export interface ChangeSpeeds {
  readonly changes: number;
  readonly patchBytes: number;
  /** Milliseconds by what was done. */
  readonly ms: Readonly<Record<string, number>>;
}

/** What the published figures are for: 150,000 changes of ten million float32. */
const published = 150_000;

/** Applying changes in memory and finding them, beside plain loops over the same memory. */
export async function measureChanges(rounds: number): Promise<ChangeSpeeds> {
  const indices = chosen(published, 1);
  const stream = await streamOf(indices, 'f32');
  const frames: Frame[] = [];
  for await (const frame of readPatch(once(stream))) frames.push(frame);
  const before = new Uint32Array(elements).map((_, k) => Math.imul(k, 0x9e37_79b1));
  const after = Uint32Array.from(before);
  for (const index of indices) after[index] = (after[index] as number) ^ 1;
  const target = Buffer.alloc(elements * 4);
  const room = new Float64Array(MAX_WRITTEN_ELEMENTS);
  const files = { base: inMemory(before), target: inMemory(after) };
  const applying = {
    'plain store': () => {
      const view = new Uint32Array(target.buffer, target.byteOffset, elements);
      for (let k = 0; k < indices.length; k++) view[indices[k] as number] = k;
    },
    apply: () => applyInMemory(target, frames, room),
  };
  const comparing = {
    'plain pass': () => {
      let differences = 0;
      for (let k = 0; k < elements; k++) differences |= (before[k] as number) ^ (after[k] as number);
      return differences;
    },
    diff: () => requireChanges(diffInMemory(before, after)),
    'diff of files in memory': async () => {
      let found = 0;
      for await (const change of diffModels(files.base, files.target)) found += change.indices.length;
      requireChanges(found);
    },
  };
  // By themselves, since passes over both models leave nothing of the target in the caches.
  const ms = { ...(await inTurns(applying, OFTEN * rounds)), ...(await inTurns(comparing, rounds)) };
  return { changes: published, patchBytes: stream.length, ms };
}

function requireChanges(found: number): void {
  if (found !== published) throw new Error(`${found} changes were found, not ${published}`);
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

/** Indices are held against their headers and decoded, values put in their places. */
function applyInMemory(target: Buffer, frames: readonly Frame[], room: Float64Array): void {
  for (const { header, payload } of frames) {
    if (header.type !== 'patch') continue;
    const valueBytes = header.count * valueSizes[header.values];
    const indices = decodeIndices(
      header,
      payload.subarray(valueBytes, valueBytes + header.indexLength),
      room,
    );
    if (!(indices instanceof Float64Array)) throw new Error(indices.detail);
    const values = payload.subarray(0, valueBytes);
    setElements({ bytes: target, first: 0 }, tensor, { indices, values, form: header });
  }
}

/** Piece by piece as models are compared, with the values gathered; gives back how many there are. */
function diffInMemory(before: Uint32Array, after: Uint32Array): number {
  const piece = 256 * 1024;
  const room = new Uint32Array(piece);
  let found = 0;
  for (let from = 0; from < before.length; from += piece) {
    const now = after.subarray(from, from + piece);
    const count = changedWords(before.subarray(from, from + piece), now, room);
    gatherElements(new Uint32Array(count), 0, now, room, count);
    found += count;
  }
  return found;
}

/** A model of one tensor that lies in memory. */
function inMemory(words: Uint32Array): SafetensorsFile {
  const bytes = Buffer.from(words.buffer, words.byteOffset, words.byteLength);
  const { name, dtype, shape, elementCount } = tensor;
  const entry = { name, dtype, shape, elementCount, byteLength: bytes.length, fileOffset: 0, part: 0 };
  return {
    path: '',
    parts: [],
    metadata: {},
    tensors: [entry],
    sizeBytes: bytes.length,
    read: async (_entry, start, length) => bytes.subarray(start, start + length),
    readInto: async (_entry, start, target) => {
      target.set(bytes.subarray(start, start + target.length));
    },
    close: async () => undefined,
  };
}
