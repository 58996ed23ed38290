/** A limit checked on several values at once agrees with checking them one by one. */
import t from 'tap';
import { bitsWithoutSign, exceeds, laneLimit } from '../../gateway/patch/lanes.ts';
import { SeededRandom } from './seeded-random.ts';

const sizes = [1, 2, 4] as const;
const signs = ['sign-bit', 'unsigned', 'twos-complement'] as const;

for (const size of sizes) {
  for (const sign of signs) {
    t.test(`a row of ${8 * size} bits (${sign}) exceeds a limit if one of its values does`, async (t) => {
      const random = new SeededRandom(71);
      const top = 2 ** (8 * size);
      const counts = { above: 0, within: 0 };
      const wrong: object[] = [];
      for (let round = 0; round < 5000; round++) {
        const [from, count] = [random.below(9), random.below(12)];
        const scale = 2 ** random.below(8 * size + 1);
        // The memory ends where the values do, as that of a chunk may.
        const bytes = Buffer.from(Uint8Array.from(random.bytes(from + count * size)).buffer);
        for (let k = 0; k < count; k++) {
          const value = random.below(2) === 0 ? random.below(scale) : top - 1 - random.below(scale);
          bytes.writeUIntLE(value, from + k * size, size);
        }
        const limit = random.below(4) === 0 ? top / 2 - 2 + random.below(4) : random.below(scale);
        const slow = Array.from({ length: count }, (_, k) => k).some(
          (k) => bitsWithoutSign(size, sign, bytes, from + k * size) > limit,
        );
        counts[slow ? 'above' : 'within'] += 1;
        if (exceeds(laneLimit(size, sign, limit), bytes, from, from + count * size) !== slow) {
          wrong.push({ bytes: bytes.toString('hex'), from, count, limit });
        }
      }
      t.same(wrong, []);
      t.ok(Math.min(counts.above, counts.within) > 500, JSON.stringify(counts));
    });
  }
}
