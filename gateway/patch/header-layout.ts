/** Locates the fields of a frame by name and prints them as hexadecimal, for people who look at bytes. */

import type { PatchFaultRule } from './fault.ts';
import {
  COMMON_LENGTH,
  type FrameType,
  OPEN_LENGTH,
  PATCH_LENGTH,
  TENSOR_LENGTH,
  valueEncodings,
  valueSizes,
} from './layout.ts';

/** A field: its name, where it begins in the frame, and how many bytes it has. */
export type Field = readonly [name: string, at: number, length: number];

const common: readonly Field[] = [
  ['magic', 0, 4],
  ['type', 4, 1],
  ['flags', 5, 1],
  ['header_length', 6, 2],
  ['payload_length', 8, 4],
  ['sequence', 12, 4],
  ['stream_offset', 16, 8],
  ['payload_crc', 24, 4],
  ['header_crc', 28, 4],
];

const own: Readonly<Record<FrameType, readonly Field[]>> = {
  open: [
    ['stream_id', 32, 16],
    ['base_version', 48, 8],
    ['target_version', 56, 8],
    ['epoch', 64, 4],
    ['tensor_count', 68, 4],
    ['total_params', 72, 8],
    ['total_changed', 80, 8],
    ['threshold', 88, 4],
    ['max_payload', 92, 4],
    ['base_digest', 96, 32],
    ['model_id_length', 128, 2],
  ],
  tensor: [
    ['tensor_id', 32, 4],
    ['dtype', 36, 1],
    ['rank', 37, 1],
    ['name_length', 38, 2],
    ['element_count', 40, 8],
  ],
  patch: [
    ['tensor_id', 32, 4],
    ['count', 36, 4],
    ['first_index', 40, 8],
    ['last_index', 48, 8],
    ['operation', 56, 1],
    ['indices', 57, 1],
    ['values', 58, 1],
    ['index_length', 60, 4],
    ['scale', 64, 4],
  ],
  end: [
    ['frame_count', 32, 4],
    ['tensor_count', 36, 4],
    ['total_changed', 40, 8],
    ['total_bytes', 48, 8],
    ['chain', 56, 32],
    ['target_digest', 88, 32],
  ],
};

/** The field that a rule is about, if there is only one. */
const fieldOfRule: Readonly<Partial<Record<PatchFaultRule, string>>> = {
  magic: 'magic',
  type: 'type',
  'header-length': 'header_length',
  'header-crc': 'header_crc',
  'payload-size': 'payload_length',
  'stream-size': 'payload_length',
  'payload-crc': 'payload_crc',
  sequence: 'sequence',
  offset: 'stream_offset',
  base: 'base_version',
  model: 'model_id',
  epoch: 'epoch',
  version: 'target_version',
  'tensor-order': 'tensor_id',
  overlap: 'first_index',
  chain: 'chain',
};

/** The field a fault is about; undefined if the frame ends before it, or the rule is not about a field. */
export function fieldOf(
  frame: Buffer,
  type: FrameType | undefined,
  rule: PatchFaultRule,
  told?: string | number,
): Field | undefined {
  if (typeof told === 'number') return [`byte ${told}`, told, 1];
  const name = told ?? fieldOfRule[rule];
  const field = fieldsOf(frame, type).find(([each]) => each === name);
  return field !== undefined && field[1] < frame.length ? field : undefined;
}

/** The fields of a frame of that type, as far as its bytes give their positions. */
function fieldsOf(frame: Buffer, type: FrameType | undefined): readonly Field[] {
  if (type === undefined) return common;
  return [...common, ...own[type], ...furtherFields(frame, type)];
}

/** Fields whose position or length depends on others. */
function furtherFields(frame: Buffer, type: FrameType): readonly Field[] {
  if (type === 'open' && frame.length >= OPEN_LENGTH)
    return [['model_id', OPEN_LENGTH, frame.readUInt16LE(128)]];
  if (type === 'tensor' && frame.length >= TENSOR_LENGTH) {
    const shapeLength = 8 * frame.readUInt8(37);
    return [
      ['shape', TENSOR_LENGTH, shapeLength],
      ['name', TENSOR_LENGTH + shapeLength, frame.readUInt16LE(38)],
    ];
  }
  if (type !== 'patch' || frame.length < PATCH_LENGTH) return [];
  const values = valueEncodings[frame.readUInt8(58)];
  const valueLength = frame.readUInt32LE(36) * (values === undefined ? 0 : valueSizes[values]);
  const indexLength = frame.readUInt32LE(60);
  const paddingAt = PATCH_LENGTH + valueLength + indexLength;
  return [
    ['value bytes', PATCH_LENGTH, valueLength],
    ['index bytes', PATCH_LENGTH + valueLength, indexLength],
    ['padding', paddingAt, Math.max(0, PATCH_LENGTH + frame.readUInt32LE(8) - paddingAt)],
  ];
}

/** Rows of a hex view before and after the marked field. */
const CONTEXT_ROWS = 2;
const ROW_LENGTH = 16;
/** At most this many rows are shown; the bytes after them are counted. */
const MAX_ROWS = 8;

/** Bytes as rows of hexadecimal and text, numbered from `base`, with the given field underlined. */
export function hexView(frame: Buffer, base: number, field: Field | undefined): readonly string[] {
  const [name, at, length] = field ?? ['', 0, 0];
  const from = Math.max(0, Math.floor(at / ROW_LENGTH) - CONTEXT_ROWS);
  const rows = Math.ceil(frame.length / ROW_LENGTH);
  const lastMarked = Math.floor(Math.max(at, at + length - 1) / ROW_LENGTH);
  const shownTo = Math.min(
    rows,
    Math.max(lastMarked + CONTEXT_ROWS + 1, COMMON_LENGTH / ROW_LENGTH),
    from + MAX_ROWS,
  );
  const lines: string[] = [];
  for (let row = from; row < shownTo; row++) {
    const bytes = frame.subarray(row * ROW_LENGTH, (row + 1) * ROW_LENGTH);
    lines.push(hexRow(bytes, base + row * ROW_LENGTH));
    const marks = markRow(bytes.length, at - row * ROW_LENGTH, length);
    if (marks !== undefined) lines.push(`${' '.repeat(12)}${marks}  ${name}`);
  }
  if (shownTo < rows) lines.push(`${' '.repeat(12)}and ${frame.length - shownTo * ROW_LENGTH} more bytes`);
  return lines;
}

function hexRow(bytes: Buffer, offset: number): string {
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
  const text = bytes.toString('latin1').replaceAll(/[^ -~]/g, '.');
  return `${offset.toString(16).padStart(10, '0')}  ${hex.padEnd(ROW_LENGTH * 3 - 1)}  |${text}|`;
}

/** Marks under the bytes from `at`, counted from the first of the row; undefined if the row has none of them. */
function markRow(bytes: number, at: number, length: number): string | undefined {
  const [from, to] = [Math.max(0, at), Math.min(bytes, at + length)];
  if (from >= to) return undefined;
  return `${'   '.repeat(from)}${Array.from({ length: to - from }, () => '^^').join(' ')}`;
}
