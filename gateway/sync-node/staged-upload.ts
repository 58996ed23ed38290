/** One upload on disk: the complete, valid frames of a stream so far, and who sends it. */

import { createReadStream } from 'node:fs';
import { type FileHandle, open, readFile, rm } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { z } from 'zod';
import { PatchFaultError } from '../patch/fault.ts';
import type { OpenHeader } from '../patch/format.ts';
import { COMMON_LENGTH, MAX_HEADER_LENGTH, MAX_PAYLOAD } from '../patch/layout.ts';
import { type Frame, readPatch } from '../patch/read.ts';
import type { PatchExpectation } from '../patch/stream-rules.ts';
import { replaceFile } from './model-state.ts';

const uploadNotes = z.strictObject({
  /** Who began it, according to the gateway; nobody else may resume it. */
  owner: z.string(),
  /** Bytes of the whole stream, if the sender announced them. */
  length: z.number().int().nonnegative().optional(),
});

export type UploadNotes = z.output<typeof uploadNotes>;

/** The part of an upload that is on disk. */
export interface Staged extends UploadNotes {
  /** Bytes of complete, verified frames, never including END: where the stream resumes. */
  readonly offset: number;
  /** What a resuming request begins with: OPEN and the last TENSOR frame, byte for byte. */
  readonly prologue: Buffer;
}

/** The rest of a stream does not begin with the OPEN and TENSOR frames of the staged stream. */
export class OtherStreamError extends Error {}

/** Called with the first frame as soon as it is verified; what it throws ends the upload. */
export type OpenWatcher = (open: OpenHeader) => void;

const notesName = (path: string): string => `${basename(path)}.json`;

/** Begins an upload from the start; discards what was there of it. */
export async function beginStaged(path: string, notes: UploadNotes): Promise<void> {
  await rm(path, { force: true });
  await replaceFile(dirname(path), notesName(path), JSON.stringify(notes));
}

export async function removeStaged(path: string): Promise<void> {
  for (const each of [path, `${path}.json`, `${path}.json.new`]) await rm(each, { force: true });
}

/**
 * Returns the part of an upload that is on disk. Reads and verifies its frames again, so that nothing but the frames is
 * trusted, cuts off what follows the last valid one, and syncs the file before its length is reported. Returns
 * undefined if there is no such upload.
 */
export async function readStaged(path: string): Promise<Staged | undefined> {
  const notes = await readNotes(path);
  if (notes === undefined) return undefined;
  const file = await open(path, 'a+');
  try {
    let offset = 0;
    let opening: Buffer = Buffer.alloc(0);
    let tensor: Buffer = Buffer.alloc(0);
    for await (const { header, headerBytes, payload } of wholeFrames(file)) {
      if (header.type === 'end') break;
      if (header.type === 'open') opening = headerBytes;
      if (header.type === 'tensor') tensor = headerBytes;
      offset += headerBytes.length + payload.length;
    }
    await file.truncate(offset);
    await file.sync();
    return { ...notes, offset, prologue: Buffer.concat([opening, tensor]) };
  } finally {
    await file.close();
  }
}

async function readNotes(path: string): Promise<UploadNotes | undefined> {
  const text = await readFile(`${path}.json`, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  return text === undefined ? undefined : uploadNotes.parse(JSON.parse(text));
}

/** Yields the frames up to the first invalid one. */
async function* wholeFrames(file: FileHandle): AsyncGenerator<Frame> {
  try {
    yield* readPatch(frameByFrame(file));
  } catch (error) {
    if (!(error instanceof PatchFaultError)) throw error;
  }
}

/** Yields one chunk per frame, so that an invalid frame does not hold back those before it. */
async function* frameByFrame(file: FileHandle): AsyncGenerator<Buffer> {
  const memory = Buffer.allocUnsafeSlow(MAX_HEADER_LENGTH + MAX_PAYLOAD);
  for (let at = 0; ; ) {
    const { bytesRead } = await file.read(memory, 0, COMMON_LENGTH, at);
    if (bytesRead < COMMON_LENGTH) return;
    const length = Math.min(memory.readUInt16LE(6) + memory.readUInt32LE(8), memory.length);
    const frame = await file.read(memory, 0, Math.max(length, COMMON_LENGTH), at);
    yield memory.subarray(0, frame.bytesRead);
    at += frame.bytesRead;
  }
}

/**
 * Receives a stream from `staged.offset` on and keeps each frame that is complete and valid. Resolves once END has come
 * and everything is on disk. Throws PatchFaultError, OtherStreamError, SenderGoneError, file errors, and what `onOpen`
 * throws; the frames kept until then are on disk too.
 */
export async function stage(
  path: string,
  staged: Staged,
  body: AsyncIterable<Buffer>,
  expectation: PatchExpectation,
  onOpen: OpenWatcher,
): Promise<void> {
  const file = await open(path, 'a');
  try {
    const whole = wholeStream(path, staged, body);
    let at = 0;
    for await (const frame of readPatch(whole, expectation)) {
      if (frame.header.type === 'open') onOpen(frame.header);
      if (at >= staged.offset) await append(file, frame);
      at += frame.headerBytes.length + frame.payload.length;
    }
  } finally {
    await file.sync().finally(() => file.close());
  }
}

/** Joins the staged frames and those that arrive into one stream, so that the check sees everything before them. */
async function* wholeStream(
  path: string,
  { offset, prologue }: Staged,
  body: AsyncIterable<Buffer>,
): AsyncGenerator<Buffer> {
  if (offset > 0) {
    yield* createReadStream(path, { end: offset - 1 }) as AsyncIterable<Buffer>;
    yield* behindPrologue(body, prologue);
    return;
  }
  yield* body;
}

async function* behindPrologue(body: AsyncIterable<Buffer>, prologue: Buffer): AsyncGenerator<Buffer> {
  let matched = 0;
  for await (const chunk of body) {
    const part = chunk.subarray(0, prologue.length - matched);
    if (!part.equals(prologue.subarray(matched, matched + part.length))) throw new OtherStreamError();
    matched += part.length;
    if (part.length < chunk.length) yield chunk.subarray(part.length);
  }
  if (matched < prologue.length) throw new OtherStreamError();
}

async function append(file: FileHandle, { headerBytes, payload }: Frame): Promise<void> {
  const parts = [headerBytes, payload].filter((part) => part.length > 0);
  const { bytesWritten } = await file.writev(parts);
  const all = headerBytes.length + payload.length;
  // A short write means that the disk is full: the next write fails with that error.
  if (bytesWritten < all) await file.appendFile(Buffer.concat(parts).subarray(bytesWritten));
}

/** Whether a stream repeats an applied one: its END must announce `digest`. Another stream may have the same id. */
export async function isSameStream(
  body: AsyncIterable<Buffer>,
  expectation: PatchExpectation,
  digest: string,
  onOpen: OpenWatcher,
): Promise<boolean> {
  let same = false;
  for await (const { header } of readPatch(body, expectation)) {
    if (header.type === 'open') onOpen(header);
    if (header.type === 'end') same = header.targetDigest.toString('hex') === digest;
  }
  return same;
}
