/** Runs rounds of one load over all sides in turns, so that drift of the machine affects all alike. */

import type { Load } from './measure.ts';
import { median, print } from './print.ts';
import type { LoadResult, Spread } from './results.ts';
import type { Rival } from './rivals.ts';
import type { Side, Yard } from './yard.ts';

/** Runs every side twice: forwards, then backwards (A B C C B A). Resolves to both values of each side. */
async function round(
  yard: Yard,
  load: Load,
  sides: readonly Side[],
): Promise<readonly (readonly number[])[]> {
  const first: number[] = [];
  const second: number[] = [];
  for (const side of sides) first.push(await load.run(yard, side));
  for (const side of sides.toReversed()) second.push(await load.run(yard, side));
  second.reverse();
  return first.map((value, index) => [value, second[index] ?? Number.NaN]);
}

export async function runLoad(
  yard: Yard,
  load: Load,
  running: readonly Rival[],
  rounds: number,
): Promise<LoadResult> {
  const rivals = running.filter(({ name }) => load.rivals.includes(name));
  const sides = [yard.patchgate, ...rivals];
  for (const side of sides) await load.warmUp?.(yard, side);
  const found: (readonly (readonly number[])[])[] = [];
  for (let left = rounds; left > 0; left--) found.push(await round(yard, load, sides));
  const means = found.map((each) => each.map(([a = 0, b = 0]) => (a + b) / 2));
  const own = means.map(([value = 0]) => value);
  return {
    name: load.name,
    unit: load.unit,
    patchgate: rounded(median(own)),
    rivals: rivals.map(({ name }, index) => {
      const values = means.map((each) => each[index + 1] ?? Number.NaN);
      const goal = load.goals[name];
      return {
        name,
        value: rounded(median(values)),
        ratio: spreadOf(values.map((value, at) => (own[at] ?? 0) / value)),
        ...(goal !== undefined && { goal: rounded(goal) }),
      };
    }),
    noise: spreadOf(found.flatMap((each) => each.map(([a = 0, b = 0]) => a / b))),
  };
}

function spreadOf(values: readonly number[]): Spread {
  return {
    median: rounded(median(values)),
    min: rounded(Math.min(...values)),
    max: rounded(Math.max(...values)),
  };
}

/** Rounds to three digits, which is more than the noise allows. */
function rounded(value: number): number {
  return Number(value.toPrecision(3));
}

export function printLoad({ name, unit, patchgate, rivals, noise }: LoadResult): void {
  const shown = ({ median: middle, min, max }: Spread): string => `${middle} (${min}–${max})`;
  print(`\n${name}, ${unit} of the proxy's CPU`);
  print(`  ${'patchgate'.padEnd(22)} ${patchgate}`);
  for (const rival of rivals) {
    const goal = rival.goal === undefined ? '' : `, goal: ${rival.goal}`;
    print(
      `  ${rival.name.padEnd(22)} ${String(rival.value).padEnd(8)} patchgate / rival: ${shown(rival.ratio)}${goal}`,
    );
  }
  print(`  noise: the same side twice in a round   ${shown(noise)}`);
}
