/** Weight patches without a gateway: sizes against targets, and speeds of check, apply and diff against a floor. */

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
/** Most bytes that one read from a TLS connection yields. */
const chunkBytes = 64 * 1024;

/** Returns `count` random indices in ascending order, single ones or in runs of 32 on average. */
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

/** Resolves to the stream that sets these elements, in the given value encoding. */
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
  /** Target size in bytes. */
  readonly aim: number;
}

/** Target sizes in MB by share of changes (1, 3, 10 %), for random changes and for runs. */
const aims: Readonly<Record<'f32' | 'bf16' | 'i8', Readonly<Record<1 | 32, readonly number[]>>>> = {
  f32: { 1: [0.529, 1.509, 5.01], 32: [0.431, 1.25, 4.154] },
  bf16: { 1: [0.328, 0.908, 3.006], 32: [0.221, 0.639, 2.119] },
  i8: { 1: [0.228, 0.608, 2.005], 32: [0.115, 0.334, 1.102] },
};

/**
 * Returns the number of changes that the target sizes are for. With runs it is larger than the share of the model, and
 * follows from the targets: only the two bytes more per change of float32 set them apart from those of bfloat16. For
 * 1 % in runs: (0.431 − 0.221) MB / 2 = 105,000 changes.
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

/** Rounds that are run first and not counted. */
const warmRounds = 5;
/** Factor for rounds of a few milliseconds, since a busy machine disturbs most of them. */
export const OFTEN = 10;

/**
 * Resolves to the best time of each work in milliseconds, since other processes can only add to it. Each round runs
 * every work once, so that a slow period affects all alike.
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

/** Measures the check of a patch that changes a quarter of the elements, and `zlib.crc32` alone. */
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
  /** Milliseconds by work. */
  readonly ms: Readonly<Record<string, number>>;
}

/** Number of changes in the published figures, of ten million float32. */
const published = 150_000;

/** Measures applying changes in memory and finding them, and plain loops over the same memory. */
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
  // Measured separately: passes over both models would evict the target from the caches.
  const ms = { ...(await inTurns(applying, OFTEN * rounds)), ...(await inTurns(comparing, rounds)) };
  return { changes: published, patchBytes: stream.length, ms };
}

function requireChanges(found: number): void {
  if (found !== published) throw new Error(`expected ${published} changes, found ${found}`);
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

/** Decodes the indices, checking them against their headers, and stores the values. */
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

/** Compares piece by piece, as models are compared, and gathers the values. Returns the number of changes. */
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

/** Returns a model of one tensor in memory. */
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
