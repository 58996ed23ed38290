/** An oracle for weight patches: slowly reads a whole stream by the written layout, sharing no code. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';

/** One changed element: the tensor, its number, and the raw value. */
export interface SlowChange {
  readonly tensor: string;
  readonly index: number;
  readonly value: string;
  readonly add: boolean;
}

/** CRC-32 bit by bit: reflected polynomial 0xEDB88320, all ones before and after. */
export function slowCrc(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

/** Reads a good stream; any other fails an assertion. */
export function readSlowly(stream: Buffer): SlowChange[] {
  const changes: SlowChange[] = [];
  let chain = Buffer.alloc(32);
  let at = 0;
  let sequence = 0;
  let tensor = '';
  for (let ended = false; !ended; sequence++) {
    assert.equal(stream.toString('latin1', at, at + 4), 'WPF1');
    const headerLength = stream.readUInt16LE(at + 6);
    const payloadLength = stream.readUInt32LE(at + 8);
    const header = Buffer.from(stream.subarray(at, at + headerLength));
    const payload = stream.subarray(at + headerLength, at + headerLength + payloadLength);
    assert.equal(stream.readUInt32LE(at + 12), sequence);
    assert.equal(stream.readBigUInt64LE(at + 16), BigInt(at));
    assert.equal(stream.readUInt32LE(at + 24), slowCrc(payload));
    const crc = header.readUInt32LE(28);
    const blanked = Buffer.from(header);
    blanked.fill(0, 28, 32);
    assert.equal(crc, slowCrc(blanked));
    const type = header[4];
    if (type === 2) {
      const nameAt = 48 + 8 * header.readUInt8(37);
      tensor = header.toString('utf8', nameAt, nameAt + header.readUInt16LE(38));
    }
    if (type === 3) readPatchSlowly(header, payload, tensor, changes);
    at += headerLength + payloadLength;
    if (type === 4) {
      ended = true;
      assert.equal(header.readUInt32LE(32), sequence + 1);
      assert.equal(header.readBigUInt64LE(40), BigInt(changes.length));
      assert.equal(header.readBigUInt64LE(48), BigInt(at));
      assert.deepEqual(header.subarray(56, 88), chain);
    }
    chain = createHash('sha256').update(chain).update(header).digest();
  }
  assert.equal(at, stream.length);
  return changes;
}

function readPatchSlowly(header: Buffer, payload: Buffer, tensor: string, changes: SlowChange[]): void {
  const count = header.readUInt32LE(36);
  const first = Number(header.readBigUInt64LE(40));
  const size = [4, 2, 2, 1][header.readUInt8(58)] ?? 0;
  const encoded = [...payload.subarray(count * size, count * size + header.readUInt32LE(60))];
  const indices = readIndices(header.readUInt8(57), encoded, first, count);
  assert.equal(indices.length, count);
  assert.equal(indices.at(-1), Number(header.readBigUInt64LE(48)));
  for (const [k, index] of indices.entries()) {
    const value = payload.toString('hex', k * size, k * size + size);
    changes.push({ tensor, index, value, add: header.readUInt8(56) === 1 });
  }
}

function readIndices(encoding: number, bytes: number[], first: number, count: number): number[] {
  if (encoding === 3) return Array.from({ length: count }, (_, k) => first + k);
  if (encoding === 2) return bytes.flatMap((byte, at) => bitsOf(byte).map((bit) => first + at * 8 + bit));
  const numbers = lebNumbers(bytes);
  if (encoding === 0) {
    const indices = [first];
    for (const gap of numbers) indices.push((indices.at(-1) ?? 0) + gap + 1);
    return indices;
  }
  const indices: number[] = [];
  let next = first;
  for (let k = 0; k < numbers.length; k += 2) {
    next += numbers[k] ?? 0;
    for (let left = (numbers[k + 1] ?? 0) + 1; left > 0; left--) indices.push(next++);
  }
  return indices;
}

function bitsOf(byte: number): number[] {
  return [0, 1, 2, 3, 4, 5, 6, 7].filter((bit) => Math.floor(byte / 2 ** bit) % 2 === 1);
}

function lebNumbers(bytes: number[]): number[] {
  const numbers: bigint[] = [];
  let parts: number[] = [];
  for (const byte of bytes) {
    parts.push(byte % 128);
    if (byte >= 128) continue;
    numbers.push(parts.reduceRight((sum, part) => sum * 128n + BigInt(part), 0n));
    parts = [];
  }
  return numbers.map(Number);
}
