/** Lists and tables leave a parcel as they entered it, whatever the sizes of pieces and the order of parcels. */
import { deserialize, serialize } from 'node:v8';
import t from 'tap';
import { addressOf, parseAddress } from '../../gateway/core/address.ts';
import { formNameOf, formOf } from '../../gateway/handoff/list-forms.ts';
import { type Column, messagesOf, type Parcel, ParcelReceiver } from '../../gateway/handoff/parcel.ts';
import { prefixReader, type ReadContents } from '../../gateway/lists/contents.ts';
import { isFaults, type ListReader, type LiveContents } from '../../gateway/lists/live-list.ts';
import { type ReadRevoked, revokedCertificates, revokedTokens } from '../../gateway/lists/revoked.ts';
import { runSliced } from '../../gateway/lists/run-sliced.ts';
import { listText } from '../bench/address-texts.ts';
import { SeededRandom } from '../patch/seeded-random.ts';

/** Carries the parcel in copied messages, as between processes, and counts them. */
function carried(parcel: Parcel): { readonly parcel: Parcel; readonly messages: number } {
  const receiver = new ParcelReceiver();
  const messages = [...messagesOf(1, { kind: 'x' }, parcel)];
  const largest = Math.max(...messages.map((message) => serialize(message).length));
  if (largest > 300_000) throw new Error(`a message of ${largest} bytes`);
  const taken = messages.flatMap((message) => receiver.take(deserialize(serialize(message))) ?? []);
  const [whole] = taken;
  if (whole === undefined || taken.length > 1) throw new Error('not one parcel');
  return { parcel: whole, messages: messages.length };
}

function handed<C extends LiveContents>(reader: ListReader<C>, contents: C): C {
  const form = formOf(formNameOf(reader));
  return form.unpack(carried(form.pack(contents)).parcel) as C;
}

async function built<C extends LiveContents>(reader: ListReader<C>, text: string): Promise<C> {
  const contents = await runSliced(reader.text('x.txt', text, 0), () => true);
  if (contents === undefined || isFaults(contents)) throw new Error('not built');
  return contents;
}

t.test('random lists of prefixes answer the same after the handoff', async (t) => {
  const random = new SeededRandom(5);
  for (const count of [0, 1, 2, 50, 1000, 30_000]) {
    const nested = Array.from({ length: Math.min(count, 60) }, (_, n) => `10.0.0.0/${8 + (n % 25)}`);
    const long = Array.from({ length: Math.min(count, 60) }, (_, n) => `2001:db8::/${40 + n}`);
    const text = [listText(random, count, 'mixed'), ...nested, ...long].join('\n');
    const here: ReadContents = await built(prefixReader, text);
    const there = handed(prefixReader, here);
    t.equal(there.tree.size, here.tree.size);
    t.same(there.tree.repeats, here.tree.repeats);
    let found = 0;
    const wrong = Array.from({ length: 4000 }, (_, n) => {
      const four = n % 2 === 0;
      const word = () => random.below(2 ** 32);
      const words = four ? [n % 4 === 0 ? 0x0a000000 : word()] : [0x20010db8 + random.below(9), word(), 0, 1];
      return addressOf(four ? 4 : 6, words);
    }).filter((address) => {
      const match = here.tree.lookup(address);
      if (match !== undefined) found += 1;
      const same = JSON.stringify(there.tree.lookup(address)) === JSON.stringify(match);
      return !same || (match !== undefined && there.placeOf(match.number) !== here.placeOf(match.number));
    });
    t.same(wrong, []);
    t.ok(count < 50 || found > 300, `enough lookups in ${count} prefixes found one: ${found}`);
  }
});

t.test('a list of a hundred thousand keys travels as two tables, and each key is found', async (t) => {
  const entries = new Map(
    Array.from({ length: 100_000 }, (_, n) => [`kühl/${n}`, `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}/32`]),
  );
  const here = await runSliced(prefixReader.keyed('etcd /x', entries, 0), () => true);
  if (here === undefined || isFaults(here)) throw new Error('not built');
  const there = handed(prefixReader, here);
  const wrong = [...entries].filter(([key, prefix]) => {
    const address = parseAddress(prefix.slice(0, -3));
    const match = address && there.tree.lookup(address);
    return match === undefined || there.placeOf(match.number) !== `etcd /x ${key}`;
  });
  t.same(wrong, []);
});

t.test('lists of revoked names keep their entries and when the next one ends', async (t) => {
  const names = Array.from({ length: 5000 }, (_, n) => `jti:${n}-é`);
  for (const [reader, text] of [
    [revokedTokens, `# x\n${names.join('\n')}\nsub:w until=2030-01-01T00:00:00Z\n`],
    [revokedCertificates, 'serial:00ab\nserial:ff\n'],
  ] as const) {
    const here: ReadRevoked = await built(reader, text);
    const there = handed(reader, here);
    t.equal(there.nextEndMs, here.nextEndMs);
    t.equal(there.names.size, here.names.size);
    const asked = [...names, 'sub:w', 'serial:ab', 'serial:ff', 'jti:x', ''];
    const answers = ({ names: all, placeOf }: ReadRevoked) =>
      asked.map((name) => (all.has(name) ? placeOf(all.find(name)) : undefined));
    t.same(answers(there), answers(here));
    t.ok(answers(there).filter((each) => each !== undefined).length >= 2);
  }
});

t.test('tables of any size arrive byte for byte, even if parcels overtake each other', async (t) => {
  const random = new SeededRandom(6);
  const piece = 128 * 1024;
  const sizes = [0, 1, 3, piece - 1, piece, piece + 1, 3 * piece + 5];
  const columns = [
    ...sizes.map((size) => random.bytes(size)),
    new Uint16Array([1, 2]),
    new Uint32Array(70_000),
  ];
  columns.at(-1)?.fill(0xfffffffe);
  const parcel = { head: { a: 1 }, columns };
  const { parcel: whole, messages } = carried(parcel);
  t.ok(messages > 6);
  t.same(whole.head, parcel.head);
  const bytesOf = (column?: Column) =>
    column && Buffer.from(column.buffer as ArrayBuffer, column.byteOffset, column.byteLength);
  for (const [index, column] of columns.entries())
    t.ok(bytesOf(whole.columns[index])?.equals(bytesOf(column) ?? Buffer.alloc(1)));
  const receiver = new ParcelReceiver();
  const [large, small] = [messagesOf(1, 'large', parcel), messagesOf(2, 'small', { head: 0, columns: [] })];
  const order = [large.next(), small.next(), ...large].map((each) => ('value' in each ? each.value : each));
  const abouts = order.flatMap((message) =>
    message === undefined ? [] : (receiver.take(message)?.about ?? []),
  );
  t.same(abouts, ['small', 'large']);
});
