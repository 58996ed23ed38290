/** Faults of a header alone: its magic, type, length, CRC, reserved bytes and encodings. */

import { CraftedStream } from './crafted-stream.ts';
import { type FaultCase, lying, openFrame, patchFrame, tensorFrame, unsealed } from './faulty-stream.ts';

export const headerCases: readonly FaultCase[] = [
  { title: 'another magic', rule: 'magic', frame: 0, stream: unsealed((b) => b.write('WPF2', 0)) },
  { title: 'frame type 0', rule: 'type', frame: 0, stream: unsealed((b) => b.writeUInt8(0, 4)) },
  { title: 'frame type 5', rule: 'type', frame: 0, stream: unsealed((b) => b.writeUInt8(5, 4)) },
  { title: 'TENSOR first', rule: 'type', frame: 0, stream: new CraftedStream().tensor().end() },
  { title: 'END first', rule: 'type', frame: 0, stream: new CraftedStream().end() },
  { title: 'a second OPEN', rule: 'type', frame: 1, stream: new CraftedStream().open().open().end() },
  {
    title: 'a header of 520 bytes',
    rule: 'header-length',
    frame: 0,
    stream: unsealed((b) => b.writeUInt16LE(520, 6)),
  },
  {
    title: 'a header of 137 bytes',
    rule: 'header-length',
    frame: 0,
    stream: unsealed((b) => b.writeUInt16LE(137, 6)),
  },
  {
    title: 'a header of 0 bytes',
    rule: 'header-length',
    frame: 0,
    stream: unsealed((b) => b.writeUInt16LE(0, 6)),
  },
  {
    title: 'a model id longer than its header',
    rule: 'header-length',
    frame: 0,
    stream: lying(openFrame, (h) => h.writeUInt16LE(17, 128)),
  },
  {
    title: 'a model id shorter than its header',
    rule: 'header-length',
    frame: 0,
    stream: lying(openFrame, (h) => h.writeUInt16LE(8, 128)),
  },
  {
    title: 'a shape that runs out of the header',
    rule: 'header-length',
    frame: 1,
    stream: lying(tensorFrame, (h) => h.writeUInt8(8, 37)),
  },
  {
    title: 'a header CRC that is off',
    rule: 'header-crc',
    frame: 0,
    stream: unsealed((b) => b.writeUInt8(9, 28)),
  },
  { title: 'flags', rule: 'reserved', frame: 0, stream: lying(openFrame, (h) => h.writeUInt8(1, 5)) },
  {
    title: 'OPEN: bytes 130 to 136',
    rule: 'reserved',
    frame: 0,
    stream: lying(openFrame, (h) => h.writeUInt8(1, 135)),
  },
  {
    title: 'OPEN: padding',
    rule: 'reserved',
    frame: 0,
    stream: lying(openFrame, (h) => h.writeUInt8(1, 151)),
  },
  {
    title: 'TENSOR: padding',
    rule: 'reserved',
    frame: 1,
    stream: lying(tensorFrame, (h) => h.writeUInt8(1, 79)),
  },
  {
    title: 'PATCH: byte 59',
    rule: 'reserved',
    frame: 2,
    stream: lying(patchFrame, (h) => h.writeUInt8(1, 59)),
  },
  {
    title: 'PATCH: byte 68',
    rule: 'reserved',
    frame: 2,
    stream: lying(patchFrame, (h) => h.writeUInt8(1, 68)),
  },
  {
    title: 'model id not UTF-8',
    rule: 'encoding',
    frame: 0,
    stream: lying(openFrame, (h) => h.writeUInt8(255, 136)),
  },
  {
    title: 'name not UTF-8',
    rule: 'encoding',
    frame: 1,
    stream: lying(tensorFrame, (h) => h.writeUInt8(255, 64)),
  },
  {
    title: 'dtype 200',
    rule: 'encoding',
    frame: 1,
    stream: lying(tensorFrame, (h) => h.writeUInt8(200, 36)),
  },
  { title: 'operation 2', rule: 'encoding', frame: 2, stream: lying(patchFrame, (h) => h.writeUInt8(2, 56)) },
  {
    title: 'index encoding 4',
    rule: 'encoding',
    frame: 2,
    stream: lying(patchFrame, (h) => h.writeUInt8(4, 57)),
  },
  {
    title: 'value encoding 4',
    rule: 'encoding',
    frame: 2,
    stream: lying(patchFrame, (h) => h.writeUInt8(4, 58)),
  },
  {
    title: 'f32 values for I64 elements',
    rule: 'encoding',
    frame: 2,
    stream: new CraftedStream().open().tensor({ dtype: 'I64' }).patch({}).end(),
  },
  {
    title: 'scaled i8 values for I8 elements',
    rule: 'encoding',
    frame: 2,
    stream: new CraftedStream().open().tensor({ dtype: 'I8' }).patch({ values: 'i8', scale: 0.5 }).end(),
  },
];
