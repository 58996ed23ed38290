/** One upload on disk: the whole frames of a stream that have come and were good, and who sends it. */

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
  /** Who began it, as the gateway told; nobody else may go on. */
  owner: z.string(),
  /** Bytes of the whole stream, where the sender said so. */
  length: z.number().int().nonnegative().optional(),
});

export type UploadNotes = z.output<typeof uploadNotes>;

/** What is there of an upload. */
export interface Staged extends UploadNotes {
  /** Bytes of whole, verified frames, END never among them: where the stream goes on. */
  readonly offset: number;
  /** What a request that goes on begins with: OPEN and the last TENSOR frame, byte for byte. */
  readonly prologue: Buffer;
}

/** The rest of a stream does not begin with the OPEN and TENSOR frames of the stream that is here. */
export class OtherStreamError extends Error {}

/** Looks at the first frame as soon as it is verified; what it throws ends the upload. */
export type OpenWatcher = (open: OpenHeader) => void;

const notesName = (path: string): string => `${basename(path)}.json`;

/** Begins an upload anew. What was there of it is gone. */
export async function beginStaged(path: string, notes: UploadNotes): Promise<void> {
  await rm(path, { force: true });
  await replaceFile(dirname(path), notesName(path), JSON.stringify(notes));
}

export async function removeStaged(path: string): Promise<void> {
  for (const each of [path, `${path}.json`, `${path}.json.new`]) await rm(each, { force: true });
}

/**
 * What is there of an upload: its frames are read and verified again, so that nothing but they themselves is trusted, and
 * what is behind the last good one is cut off. It is on disk before it is told. Nothing where there is no such upload.
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

/** The good frames up to the first that is not. */
async function* wholeFrames(file: FileHandle): AsyncGenerator<Frame> {
  try {
    yield* readPatch(frameByFrame(file));
  } catch (error) {
    if (!(error instanceof PatchFaultError)) throw error;
  }
}

/** A chunk a frame, so that a bad one takes none of those before it with it. */
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
 * Takes what a sender sends of a stream, from `staged.offset` on, and keeps each frame that is whole and good. Resolves
 * once END is here and all of it is on disk. Throws PatchFaultError, OtherStreamError, SenderGoneError, and what the disk
 * or `onOpen` throws; frames kept until then are on disk too.
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

/** The frames that are here, and behind them those that come: one stream, so the check knows all that came before. */
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
  // A short write means that the disk is full: the next one says so.
  if (bytesWritten < all) await file.appendFile(Buffer.concat(parts).subarray(bytesWritten));
}

/** Holds the frames of an applied stream against what it made: another stream of the same id is no repetition. */
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
