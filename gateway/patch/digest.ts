/** Computes the digest of a model: SHA-256 over its tensors in name order, whatever the layout of its files. */

import { createHash, type Hash } from 'node:crypto';
import { MIB } from '../core/units.ts';
import type { SafetensorsFile, TensorEntry } from './safetensors.ts';

/** Bytes of a tensor read at a time. */
const PIECE_BYTES = MIB;

/**
 * SHA-256 (32 bytes) over, for each tensor in the byte order of the names in UTF-8, all integers little-endian:
 *
 *     u32 length of the name    the name, UTF-8
 *     u32 length of the dtype   the dtype as safetensors writes it, e.g. BF16
 *     u32 rank                  u64 per dimension
 *     u64 length of the data    the data, little-endian, row by row
 *
 * Every part carries its length, so no two models hash the same input. Metadata is left out. Throws SafetensorsError.
 */
export async function modelDigest(file: SafetensorsFile): Promise<Buffer> {
  const hash = createHash('sha256');
  const longest = file.tensors.reduce((most, { byteLength }) => Math.max(most, byteLength), 0);
  const piece = Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, longest));
  for (const tensor of file.tensors) {
    hash.update(describe(tensor));
    await hashData(hash, file, tensor, piece);
  }
  return hash.digest();
}

function describe({ name, dtype, shape, byteLength }: TensorEntry): Buffer {
  const nameBytes = Buffer.from(name);
  const parts = [u32(nameBytes.length), nameBytes, u32(dtype.length), Buffer.from(dtype), u32(shape.length)];
  return Buffer.concat([...parts, ...shape.map(u64), u64(byteLength)]);
}

async function hashData(
  hash: Hash,
  file: SafetensorsFile,
  tensor: TensorEntry,
  piece: Buffer,
): Promise<void> {
  for (let start = 0; start < tensor.byteLength; start += PIECE_BYTES) {
    const part = piece.subarray(0, Math.min(PIECE_BYTES, tensor.byteLength - start));
    await file.readInto(tensor, start, part);
    hash.update(part);
  }
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}
