/** A table of names answers as a Map does, whatever the names are. */
import t from 'tap';
import { ABSENT, NameTable, NameTableBuilder } from '../../gateway/core/name-table.ts';
import { finish } from '../../gateway/core/prefix-tree.ts';
import { SeededRandom } from '../patch/seeded-random.ts';

/** Short names of few letters, so that they repeat, with a rare one of letters wider than a byte. */
function randomName(random: SeededRandom): string {
  const letters = random.next() < 0.001 ? 'äß€𝄞' : 'ab01:';
  return Array.from({ length: random.below(9) }, () => letters[random.below(letters.length)]).join('');
}

t.test('a table of seeded random names answers as a Map does', async (t) => {
  const random = new SeededRandom(11);
  for (const count of [0, 1, 2, 3, 100, 5000]) {
    const map = new Map<string, number>();
    const builder = new NameTableBuilder(random.below(2 ** 32));
    for (let number = 0; number < count; number++) {
      const name = randomName(random);
      map.set(name, number);
      builder.add(name, number);
    }
    const table = finish(builder.build());
    t.equal(table.size, map.size, `the table has the size of the Map after ${count} names`);
    const again = new NameTable(structuredClone(table.tables));
    const wrong = Array.from({ length: 5000 }, () => randomName(random)).filter((name) => {
      const expected = map.get(name) ?? ABSENT;
      return table.find(name) !== expected || again.find(name) !== expected;
    });
    t.same(wrong, []);
    t.same(
      [...map.keys()].filter((name) => table.find(name) !== map.get(name)),
      [],
    );
  }
});

t.test('names that fit in bytes are kept in bytes', async (t) => {
  const of = (name: string): NameTable => {
    const builder = new NameTableBuilder(1);
    builder.add(name, 0);
    return finish(builder.build());
  };
  t.ok(of('jti:é').tables.units instanceof Uint8Array);
  t.ok(of('jti:€').tables.units instanceof Uint16Array);
  t.ok(of('jti:€').has('jti:€'));
  t.notOk(of('jti:\u00ac').has('jti:\u20ac'), 'a letter is not found by its lower half');
});
