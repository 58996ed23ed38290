/** Parses the JSON header of a safetensors file, whose tensors must cover the data without gap or overlap. */

import { repeatedKey } from '../core/json-keys.ts';
import { byteLengthOf, type Dtype, elementCountOf, isDtype } from './dtype.ts';

/** One tensor of a file. */
export interface TensorEntry {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Product of the shape; 1 for a scalar. */
  readonly elementCount: number;
  readonly byteLength: number;
  /** Where its bytes begin, from the start of the file. */
  readonly fileOffset: number;
  /** The position in the model's `parts` of the file that holds it. */
  readonly part: number;
}

export interface SafetensorsHeader {
  readonly metadata: Readonly<Record<string, string>>;
  /** In name order (see `compareNames`). */
  readonly tensors: readonly TensorEntry[];
}

/** Orders names as everything in this folder does: by their bytes in UTF-8. */
export function compareNames(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** Parses the header of a file with `dataBytes` bytes of data from `dataAt` on. A string is the error message. */
export function parseHeader(json: string, dataAt: number, dataBytes: number): SafetensorsHeader | string {
  const header = parseJson(json);
  if (typeof header === 'string') return header;
  const tensors: TensorEntry[] = [];
  let metadata: Readonly<Record<string, string>> = {};
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') {
      if (!isStringRecord(value)) return '__metadata__ is not an object of strings';
      metadata = value;
      continue;
    }
    const entry = parseEntry(name, value, dataAt);
    if (typeof entry === 'string') return `tensor ${name}: ${entry}`;
    tensors.push(entry);
  }
  const gap = findGap(tensors, dataAt, dataBytes);
  if (gap !== undefined) return gap;
  return { metadata, tensors: tensors.sort((a, b) => compareNames(a.name, b.name)) };
}

function parseJson(json: string): Record<string, unknown> | string {
  if (!json.startsWith('{')) return 'the header does not begin with {';
  let header: unknown;
  try {
    header = JSON.parse(json);
  } catch {
    return 'the header is not JSON';
  }
  const repeated = repeatedKey(json);
  if (repeated !== undefined) return `duplicate key ${repeated}`;
  return isRecord(header) ? header : 'the header is not an object';
}

function parseEntry(name: string, value: unknown, dataAt: number): TensorEntry | string {
  // Half a surrogate pair has no UTF-8 form: two such names would be the same in every digest and on the wire.
  if (!name.isWellFormed()) return 'the name is not well-formed Unicode';
  if (!isRecord(value)) return 'not an object';
  const { dtype, shape, data_offsets: offsets, ...others } = value;
  const [other] = Object.keys(others);
  if (other !== undefined) return `unknown key ${other}`;
  if (typeof dtype !== 'string' || !isDtype(dtype)) return 'the dtype is unknown';
  if (!isCounts(shape)) return 'the shape is not a list of whole numbers';
  if (!isCounts(offsets) || offsets.length !== 2) return 'data_offsets are not two whole numbers';
  const [begin = 0, end = 0] = offsets;
  const elementCount = elementCountOf(shape);
  if (elementCount === undefined) return 'the shape has too many elements';
  const byteLength = byteLengthOf(dtype, elementCount);
  if (byteLength !== end - begin)
    return `the shape takes ${byteLength} bytes, data_offsets span ${end - begin}`;
  return { name, dtype, shape, elementCount, byteLength, fileOffset: dataAt + begin, part: 0 };
}

/** Returns an error message unless the tensors lie side by side from the first byte of the data to the last. */
function findGap(tensors: readonly TensorEntry[], dataAt: number, dataBytes: number): string | undefined {
  const placed = tensors.toSorted((a, b) => a.fileOffset - b.fileOffset || a.byteLength - b.byteLength);
  let next = dataAt;
  for (const { name, fileOffset, byteLength } of placed) {
    if (fileOffset !== next) return `tensor ${name} leaves a gap before it or overlaps another`;
    next += byteLength;
  }
  const rest = dataAt + dataBytes - next;
  return rest === 0 ? undefined : `the tensors end ${rest} bytes before the end of the file`;
}

/** Whether a JSON value is an object: not an array, not null. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether a JSON value is an object whose members are all strings. */
export function isStringRecord(value: unknown): value is Record<string, string> {
  return isRecord(value) && Object.values(value).every((member) => typeof member === 'string');
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}
