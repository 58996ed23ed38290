/** A streamed answer of etcd is split into lines, however it was cut into pieces. */

import t from 'tap';
import { MIB } from '../../gateway/core/units.ts';
import { linesOf } from '../../gateway/lists/etcd-session.ts';

async function told(text: string, pieceLength: number): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of linesOf(piecesOf(text, pieceLength))) lines.push(line);
  return lines;
}

async function* piecesOf(text: string, length: number): AsyncGenerator<string> {
  for (let start = 0; start < text.length; start += length) yield text.slice(start, start + length);
}

t.test('a line is the text before a line end, wherever the pieces begin', async (t) => {
  for (const length of [1, 2, 3, 5, 11, 100]) {
    const lines = await told('one\n\ntwo\nthree\nwithout an end', length);
    t.same(lines, ['one', 'two', 'three'], `the lines are the same in pieces of ${length}`);
  }
});

t.test('a line of 15 MiB in 200,000 pieces is not scanned again and again', async (t) => {
  const lines = await told(`${'x'.repeat(15 * MIB)}\nand\n`, 80);
  t.same(
    lines.map(({ length }) => length),
    [15 * MIB, 3],
  );
});

t.test('a line that does not end is an error', async (t) => {
  await t.rejects(told('x'.repeat(17 * MIB), MIB), { message: 'etcd sent a line that is too long' });
});
