/** Checks the values of patches as they stream through: chunks of any size, memory for one value. */

import type { PatchHeader, TensorFields } from './format.ts';
import { bitsWithoutSign, exceeds } from './lanes.ts';
import { ANY_VALUE, judgeValues, type ValueJudge } from './value-judge.ts';

/** Reused from frame to frame. `begin` and `take` return an error message for the sender, or undefined. */
export class ValueCheck {
  readonly #maxAbs: number | undefined;
  /** The judge for the kind of values in the last frame (undefined if every value passes), and that kind. */
  #judge: ValueJudge | undefined;
  #judged = '';
  #tensor = '';
  /** A value split over chunks, and the number of its bytes so far. */
  readonly #split = Buffer.alloc(4);
  #held = 0;

  constructor(maxAbs: number | undefined) {
    this.#maxAbs = maxAbs;
  }

  begin(tensor: TensorFields, patch: PatchHeader): string | undefined {
    this.#held = 0;
    this.#tensor = tensor.name;
    const kind = `${tensor.dtype} ${tensor.words} ${patch.values} ${patch.operation} ${patch.scale}`;
    if (kind === this.#judged) return undefined;
    const judge = judgeValues(tensor, patch, this.#maxAbs);
    if (typeof judge === 'string') return judge;
    this.#judge = judge === ANY_VALUE ? undefined : judge;
    this.#judged = kind;
    return undefined;
  }

  /** Takes the next value bytes, from `bytes[from]` up to, not including, `bytes[to]`. */
  take(bytes: Buffer, from: number, to: number): string | undefined {
    if (this.#judge === undefined) return undefined;
    const { limit } = this.#judge;
    let at = from;
    if (this.#held > 0) {
      at = Math.min(to, from + limit.size - this.#held);
      this.#held += bytes.copy(this.#split, this.#held, from, at);
      if (this.#held < limit.size) return undefined;
      this.#held = 0;
      if (exceeds(limit, this.#split, 0, limit.size)) return this.#wrong(this.#judge, this.#split, 0);
    }
    const end = to - ((to - at) % limit.size);
    if (exceeds(limit, bytes, at, end)) return this.#wrong(this.#judge, bytes, at);
    this.#held = bytes.copy(this.#split, 0, end, to);
    return undefined;
  }

  /** Describes the first value from `at` on that is above the limit; there must be one. */
  #wrong({ limit, wrongWith }: ValueJudge, bytes: Buffer, at: number): string {
    const { size, sign } = limit;
    let first = at;
    while (bitsWithoutSign(size, sign, bytes, first) <= limit.limit) first += size;
    return `a value of ${this.#tensor} ${wrongWith(bitsWithoutSign(size, sign, bytes, first))}`;
  }
}
