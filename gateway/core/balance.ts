/** Chooses the node that takes the next request: pure rules over plain numbers. */

/** A node as the rules see it. Weights are above 0; only their ratios count. */
export interface Choice {
  readonly weight: number;
  /** Requests in progress. */
  readonly active: number;
  /** Written only by `nextInTurn`; starts at 0. */
  turn: number;
  /** Distinct for each node and the same in every run: `seedOf` its name. */
  readonly seed: number;
}

/** A node with more than this times its share of all active requests is skipped (Mirrokni et al., 2018). */
const MAX_SHARE_FACTOR = 1.25;

/**
 * Draws two nodes by weight and returns the one with fewer active requests for its weight, the first on a tie. This is
 * nearly as even as comparing all nodes, and sends no herd to the one that looked idle a moment ago (Mitzenmacher, "The
 * power of two choices in randomized load balancing", 2001). `random` returns a number in [0, 1).
 */
export function lessBusyOfTwo<C extends Choice>(choices: readonly C[], random: () => number): C | undefined {
  if (choices.length < 2) return choices[0];
  const first = drawn(choices, undefined, random());
  const second = drawn(choices, first, random());
  if (first === undefined || second === undefined) return first;
  return second.active * first.weight < first.active * second.weight ? second : first;
}

/** Draws one by weight from all but `except`. */
function drawn<C extends Choice>(
  choices: readonly C[],
  except: C | undefined,
  random: number,
): C | undefined {
  let left = random * (weightOf(choices) - (except?.weight ?? 0));
  let last: C | undefined;
  for (const choice of choices) {
    if (choice === except) continue;
    last = choice;
    left -= choice.weight;
    if (left < 0) return choice;
  }
  return last;
}

/**
 * Takes the nodes in turn by weight, with the turns of a heavy one spread out: weights 5, 1, 1 give a a b a c a a (the
 * smooth weighted round robin of nginx).
 */
export function nextInTurn<C extends Choice>(choices: readonly C[]): C | undefined {
  let next: C | undefined;
  for (const choice of choices) {
    choice.turn += choice.weight;
    if (next === undefined || choice.turn > next.turn) next = choice;
  }
  if (next !== undefined) next.turn -= weightOf(choices);
  return next;
}

/**
 * Returns the first node for the key that is not over its share of the load. When a node leaves, only its own keys
 * move; when one joins, only its share of the keys moves (weighted rendezvous hashing: Thaler and Ravishankar, 1998;
 * Schindelhauer and Schomaker, 2005). `key` is `hashOf` a text.
 */
export function firstForKey<C extends Choice>(choices: readonly C[], key: number): C | undefined {
  if (choices.length < 2) return choices[0];
  let active = 1;
  for (const choice of choices) active += choice.active;
  const perWeight = (MAX_SHARE_FACTOR * active) / weightOf(choices);
  let best: C | undefined;
  let bestScore = Number.POSITIVE_INFINITY;
  for (const choice of choices) {
    if (choice.active + 1 > Math.ceil(perWeight * choice.weight)) continue;
    const score = -Math.log(unit(key ^ choice.seed)) / choice.weight;
    if (score >= bestScore) continue;
    best = choice;
    bestScore = score;
  }
  return best;
}

function weightOf(choices: readonly Choice[]): number {
  let sum = 0;
  for (const { weight } of choices) sum += weight;
  return sum;
}

/** A 32-bit hash of a text: FNV-1a over its UTF-16 code units. */
export function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash | 0;
}

/** The seed of a node by its name; mixed, because names often differ only in their last letters. */
export function seedOf(name: string): number {
  return mixed(hashOf(name));
}

/** Maps 32 bits to a number above 0 and below 1 that depends on every bit. */
function unit(bits: number): number {
  return ((mixed(bits) >>> 0) + 0.5) / 2 ** 32;
}

/** The finalizer of MurmurHash3 (public domain, A. Appleby). */
function mixed(bits: number): number {
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return bits ^ (bits >>> 16);
}
