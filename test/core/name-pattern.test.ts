/** Name patterns agree with a slow oracle, and a hostile pattern takes no longer. */
import t from 'tap';
import { matchesName, namePattern } from '../../gateway/core/name-pattern.ts';
import { SeededRandom } from '../patch/seeded-random.ts';

const rows: readonly (readonly [pattern: string, name: string, fits: boolean])[] = [
  ['w', 'w', true],
  ['w', 'w.1', false],
  ['', '', true],
  ['*', '', true],
  ['*', 'any.thing', true],
  ['*.lora_A.*', 'layers.0.q.lora_A.weight', true],
  ['*.lora_A.*', 'layers.0.q.lora_B.weight', false],
  ['*.lora_A.*', 'lora_A.weight', false],
  ['layers.*.weight', 'layers.weight', false],
  ['layers.*.weight', 'layers.0.weight', true],
  ['a*a', 'a', false],
  ['a*a', 'aa', true],
  ['ab*ba', 'aba', false],
  ['*a*b*', 'xbxa', false],
  ['**', 'x', true],
  ['x.y', 'xzy', false],
  ['w?', 'w1', false],
  ['[ab]', 'a', false],
  ['ß*', 'ßx', true],
];

for (const [pattern, name, fits] of rows) {
  t.test(`the pattern "${pattern}" ${fits ? 'matches' : 'does not match'} "${name}"`, async (t) => {
    t.equal(matchesName(namePattern(pattern), name), fits);
  });
}

/** Tries every way of splitting the name. */
function fitsSlowly(pattern: string, name: string): boolean {
  if (pattern === '') return name === '';
  const [head, rest] = [pattern[0], pattern.slice(1)];
  if (head !== '*') return name[0] === head && fitsSlowly(rest, name.slice(1));
  return Array.from({ length: name.length + 1 }, (_, cut) => cut).some((cut) =>
    fitsSlowly(rest, name.slice(cut)),
  );
}

t.test('seeded patterns match seeded names exactly where the slow oracle does', async (t) => {
  const random = new SeededRandom(70);
  const text = (letters: string, length: number) =>
    Array.from({ length }, () => letters[random.below(letters.length)]).join('');
  const wrong: string[] = [];
  let fitting = 0;
  for (let round = 0; round < 5000; round++) {
    const [pattern, name] = [text('ab*', random.below(6)), text('ab', random.below(8))];
    const fits = matchesName(namePattern(pattern), name);
    if (fits) fitting += 1;
    if (fits !== fitsSlowly(pattern, name)) wrong.push(`${pattern} ${name}`);
  }
  t.same(wrong, []);
  t.ok(fitting > 500, `enough of the 5000 names match: ${fitting}`);
});
