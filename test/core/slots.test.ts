/** A collection whose members know their own places holds exactly what a set would. */
import t from 'tap';
import { Slots, type Slotted } from '../../gateway/core/slots.ts';
import { SeededRandom } from '../patch/seeded-random.ts';

interface Item extends Slotted {
  readonly name: number;
}

t.test('adding twice and removing an absent item change nothing', async (t) => {
  const slots = new Slots<Item>();
  const item: Item = { name: 1, slot: -1 };
  slots.remove(item);
  slots.add(item);
  slots.add(item);
  t.equal(slots.size, 1);
  t.same(slots.snapshot(), [item]);
  slots.remove(item);
  slots.remove(item);
  t.equal(slots.size, 0);
  t.equal(item.slot, -1);
});

t.test('slots hold what a set would, in whatever order items come and go', async (t) => {
  const random = new SeededRandom(3);
  const items = Array.from({ length: 50 }, (_, name): Item => ({ name, slot: -1 }));
  const slots = new Slots<Item>();
  const oracle = new Set<Item>();
  for (let step = 0; step < 20_000; step++) {
    const item = items[random.below(items.length)] as Item;
    if (random.below(2) === 0) {
      slots.add(item);
      oracle.add(item);
    } else {
      slots.remove(item);
      oracle.delete(item);
    }
    if (slots.size !== oracle.size || !slots.snapshot().every((each) => oracle.has(each))) {
      t.fail(`the slots agree with the set at step ${step}`);
      return;
    }
  }
  t.pass('the slots agreed with the set for 20,000 steps');
});
