/** Safetensors files that are hostile, too long or missing are refused by name and with a reason. */

import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { openSafetensors, SafetensorsError } from '../../gateway/patch/safetensors.ts';

/** A file of this header and so many bytes of data. */
function fileOf(header: string | Buffer, dataBytes = 0, claimed?: bigint): Buffer {
  const json = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(claimed ?? BigInt(json.length));
  return Buffer.concat([length, json, Buffer.alloc(dataBytes)]);
}

/** A header of one tensor `w`, F32, [2, 2], with some of it replaced. */
function oneTensor(lies: object): string {
  return JSON.stringify({ w: { dtype: 'F32', shape: [2, 2], data_offsets: [0, 16], ...lies } });
}

/** A header of tensors of single bytes at the given places. */
function bytesAt(...places: readonly (readonly [from: number, to: number])[]): string {
  const tensors = places.map(([from, to], k) => [
    `t${k}`,
    { dtype: 'U8', shape: [to - from], data_offsets: [from, to] },
  ]);
  return JSON.stringify(Object.fromEntries(tensors));
}

const good = oneTensor({});
const entry = '{"dtype":"U8","shape":[1],"data_offsets":[0,1]}';
const notCounts = 'the shape is not a list of whole numbers';
const notOffsets = 'data_offsets are not two whole numbers';

const hostile: readonly (readonly [title: string, file: Buffer, reason: string])[] = [
  ['no byte at all', Buffer.alloc(0), 'shorter than the 8 bytes'],
  ['seven bytes', Buffer.alloc(7), 'shorter than the 8 bytes'],
  ['a header one byte longer than the file', fileOf(good, 0, BigInt(good.length + 1)), 'does not fit'],
  ['a header of 2^64-1 bytes', fileOf(good, 16, 2n ** 64n - 1n), 'does not fit'],
  ['a header of 2^53 bytes', fileOf(good, 16, 2n ** 53n), 'does not fit'],
  ['a header of no bytes', fileOf(''), 'does not begin with {'],
  ['a list', fileOf('[]'), 'does not begin with {'],
  ['a space before the header', fileOf(` ${good}`, 16), 'does not begin with {'],
  ['a byte order mark', fileOf(`\ufeff${good}`, 16), 'does not begin with {'],
  ['text that is not JSON', fileOf('{"w":'), 'not JSON'],
  ['a comma too many', fileOf('{"__metadata__":{},}'), 'not JSON'],
  ['two headers', fileOf(`${good}${good}`, 16), 'not JSON'],
  ['zeros behind the header', fileOf(`${good}\0\0`, 16), 'not JSON'],
  ['text that is not UTF-8', fileOf(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d])), 'not UTF-8'],
  ['overlong UTF-8', fileOf(Buffer.from([0x7b, 0x22, 0xc0, 0xaf, 0x22, 0x7d])), 'not UTF-8'],
  [
    'half a surrogate pair in a name',
    fileOf(`{"\\ud800":${entry}}`, 1),
    'the name is not well-formed Unicode',
  ],
  ['a tensor twice', fileOf(`{"w":${entry},"w":${entry}}`, 1), 'duplicate key w'],
  ['a tensor twice, once escaped', fileOf(`{"w":${entry},"\\u0077":${entry}}`, 1), 'duplicate key w'],
  ['__metadata__ twice', fileOf('{"__metadata__":{},"__metadata__":{}}'), 'duplicate key __metadata__'],
  ['a note twice', fileOf('{"__metadata__":{"a":"1","a":"2"}}'), 'duplicate key a'],
  [
    'a dtype twice',
    fileOf('{"w":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}', 1),
    'duplicate key',
  ],
  [
    'notes that are no strings',
    fileOf('{"__metadata__":{"a":1}}'),
    '__metadata__ is not an object of strings',
  ],
  ['notes in a list', fileOf('{"__metadata__":["a"]}'), '__metadata__ is not an object of strings'],
  ['notes that are null', fileOf('{"__metadata__":null}'), '__metadata__ is not an object of strings'],
  ['a tensor that is a number', fileOf('{"w":1}'), 'tensor w: not an object'],
  ['a tensor that is null', fileOf('{"w":null}'), 'tensor w: not an object'],
  ['a tensor without a key', fileOf('{"w":{}}'), 'the dtype is unknown'],
  ['a key that does not belong', fileOf(oneTensor({ file: '/etc/passwd' }), 16), 'unknown key file'],
  ['an unknown dtype', fileOf(oneTensor({ dtype: 'F31' }), 16), 'the dtype is unknown'],
  ['a dtype in small letters', fileOf(oneTensor({ dtype: 'f32' }), 16), 'the dtype is unknown'],
  ['a dtype every object has', fileOf(oneTensor({ dtype: 'constructor' }), 16), 'the dtype is unknown'],
  ['a dtype that is a number', fileOf(oneTensor({ dtype: 0 }), 16), 'the dtype is unknown'],
  ['a shape that is a number', fileOf(oneTensor({ shape: 4 }), 16), notCounts],
  ['a negative dimension', fileOf(oneTensor({ shape: [-2, -2] }), 16), notCounts],
  ['half a dimension', fileOf(oneTensor({ shape: [0.5, 8] }), 16), notCounts],
  ['a dimension in quotes', fileOf(oneTensor({ shape: ['4'] }), 16), notCounts],
  ['a dimension of 2^53', fileOf(oneTensor({ shape: [2 ** 53] }), 16), notCounts],
  [
    'dimensions whose product overflows',
    fileOf(oneTensor({ shape: [2 ** 32, 2 ** 32] }), 16),
    'too many elements',
  ],
  ['elements that end inside a byte', fileOf(oneTensor({ dtype: 'F4', shape: [3] }), 16), 'the shape takes'],
  ['a shape of fewer bytes', fileOf(oneTensor({ shape: [3] }), 16), 'the shape takes 12 bytes'],
  ['a shape of more bytes', fileOf(oneTensor({ shape: [5] }), 16), 'the shape takes 20 bytes'],
  ['a shape of no bytes', fileOf(oneTensor({ shape: [0] }), 16), 'the shape takes 0 bytes'],
  ['negative offsets', fileOf(oneTensor({ data_offsets: [-16, 0] }), 16), notOffsets],
  ['offsets of 2^53', fileOf(oneTensor({ data_offsets: [2 ** 53, 2 ** 53 + 16] }), 16), notOffsets],
  ['offsets like 1e400', fileOf('{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1e400]}}', 1), notOffsets],
  ['one offset', fileOf(oneTensor({ data_offsets: [16] }), 16), notOffsets],
  ['three offsets', fileOf(oneTensor({ data_offsets: [0, 16, 16] }), 16), notOffsets],
  ['offsets the wrong way round', fileOf(oneTensor({ data_offsets: [16, 0] }), 16), 'data_offsets span -16'],
  [
    'offsets beyond the file',
    fileOf(oneTensor({ data_offsets: [2 ** 40, 2 ** 40 + 16] }), 16),
    'leaves a gap',
  ],
  ['data that is cut off', fileOf(good, 15), 'the tensors end -1 bytes before the end of the file'],
  ['data that goes on', fileOf(good, 17), 'the tensors end 1 bytes before the end of the file'],
  ['data without a tensor', fileOf('{}', 1), 'the tensors end 1 bytes before the end of the file'],
  ['a gap before the first', fileOf(bytesAt([1, 2]), 2), 'tensor t0 leaves a gap before it or overlaps'],
  ['a gap in between', fileOf(bytesAt([0, 1], [2, 3]), 3), 'tensor t1 leaves a gap before it or overlaps'],
  [
    'two in the same place',
    fileOf(bytesAt([0, 4], [0, 4]), 8),
    'tensor t1 leaves a gap before it or overlaps',
  ],
  ['one inside another', fileOf(bytesAt([0, 4], [1, 2]), 5), 'tensor t1 leaves a gap before it or overlaps'],
  ['an empty one inside another', fileOf(bytesAt([0, 4], [2, 2]), 4), 'tensor t1 leaves a gap before it'],
];

for (const [title, bytes, reason] of hostile) {
  t.test(`a file with ${title} is refused by its name`, async (t) => {
    const path = join(t.testdir({}), 'model.safetensors');
    await writeFile(path, bytes);
    const error: unknown = await openSafetensors(path).catch((caught: unknown) => caught);
    if (!(error instanceof SafetensorsError)) throw new Error('not refused', { cause: error });
    t.equal(error.path, path);
    t.ok(error.reason.includes(reason), error.reason);
    t.equal(error.message, `${path}: ${error.reason}`);
  });
}

t.test('a header over 100 MB is refused by its length alone, even if the file is that long', async (t) => {
  const path = join(t.testdir({}), 'model.safetensors');
  const file = await open(path, 'w');
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(100_000_001n);
  await file.write(length);
  await file.truncate(200_000_000);
  await file.close();
  const before = process.memoryUsage().arrayBuffers;
  await t.rejects(openSafetensors(path), {
    name: 'SafetensorsError',
    reason: 'a header of 100000001 bytes does not fit',
  });
  t.ok(process.memoryUsage().arrayBuffers - before < 10_000_000, 'nothing of that size was allocated');
});

t.test('a file that cannot be read gives a SafetensorsError with its cause', async (t) => {
  const folder = t.testdir({});
  const missing = join(folder, 'missing');
  await t.rejects(openSafetensors(missing), {
    name: 'SafetensorsError',
    path: missing,
    cause: { code: 'ENOENT' },
  });
  await t.rejects(openSafetensors(folder), {
    name: 'SafetensorsError',
    path: folder,
    cause: { code: 'EISDIR' },
  });
});

t.test('a repeated word in text is no repeated key', async (t) => {
  const path = join(t.testdir({}), 'model.safetensors');
  const notes = { a: '"b":1', b: 'a', c: '\\"c\\":', d: '{"d":1,"d":2}' };
  await writeFile(path, fileOf(JSON.stringify({ __metadata__: notes })));
  const file = await openSafetensors(path);
  t.same(file.metadata, notes);
  await file.close();
});
