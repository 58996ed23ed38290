/** Nodes get requests by their weights, and a node that comes or goes moves only its own keys. */
import t, { type Test } from 'tap';
import {
  type Choice,
  firstForKey,
  hashOf,
  lessBusyOfTwo,
  nextInTurn,
  seedOf,
} from '../../gateway/core/balance.ts';
import { SeededRandom } from '../patch/seeded-random.ts';

interface Node extends Choice {
  readonly name: string;
  active: number;
}

function nodes(...weights: readonly number[]): Node[] {
  return weights.map((weight, index) => {
    const name = `http://10.0.0.${index + 1}:7001`;
    return { name, weight, active: 0, turn: 0, seed: seedOf(name) };
  });
}

/** How often each node was chosen, in the order of the nodes. */
function counts(among: readonly Node[], times: number, choose: (turn: number) => Node | undefined): number[] {
  const chosen = new Map<Node | undefined, number>();
  for (let turn = 0; turn < times; turn++) {
    const node = choose(turn);
    chosen.set(node, (chosen.get(node) ?? 0) + 1);
  }
  return among.map((node) => chosen.get(node) ?? 0);
}

const keys = Array.from({ length: 20_000 }, (_, index) => hashOf(`model_${index}`));

/** The node of each key while no node is busy. */
function owners(among: readonly Node[]): readonly (string | undefined)[] {
  return keys.map((key) => firstForKey(among, key)?.name);
}

function isNear(t: Test, found: number, expected: number, share: number): void {
  t.ok(Math.abs(found - expected) <= expected * share, `${found} is near ${expected}`);
}

t.test('no nodes give no choice, and a single node is always chosen', async (t) => {
  const [alone] = nodes(3);
  if (alone === undefined) throw new Error('there is no node');
  const random = (): number => 0.999_999;
  for (const choose of [
    (some: Node[]) => lessBusyOfTwo(some, random),
    (some: Node[]) => nextInTurn(some),
    (some: Node[]) => firstForKey(some, 7),
  ]) {
    t.equal(choose([]), undefined);
    t.equal(choose([alone]), alone);
  }
});

t.test('round robin gives each node its weight in every round and spreads out the heavy one', async (t) => {
  const some = nodes(5, 1, 1);
  const names = Array.from({ length: 14 }, () => 'abc'[some.indexOf(nextInTurn(some) as Node)]).join('');
  t.equal(names, 'aabacaaaabacaa');
});

t.test('round robin goes on evenly after a node was left out for a while', async (t) => {
  const some = nodes(1, 1, 1);
  const [first, second] = some;
  for (let turn = 0; turn < 100; turn++) nextInTurn([first, second] as Node[]);
  t.same(
    counts(some, 30, () => nextInTurn(some)).map((count) => count >= 9 && count <= 12),
    [true, true, true],
  );
});

t.test('idle nodes are drawn by their weights', async (t) => {
  const random = new SeededRandom(1);
  const some = nodes(1, 2, 5);
  const found = counts(some, 80_000, () => lessBusyOfTwo(some, () => random.next()));
  for (const [index, count] of found.entries()) isNear(t, count, 10_000 * (some[index]?.weight ?? 0), 0.05);
});

t.test('of two nodes the one that is busier for its weight is passed over', async (t) => {
  const random = new SeededRandom(2);
  const some = nodes(1, 1);
  const [busy, free] = some as [Node, Node];
  busy.active = 1;
  t.same(
    counts(some, 100, () => lessBusyOfTwo(some, () => random.next())),
    [0, 100],
  );
  const [heavy, light] = nodes(4, 1) as [Node, Node];
  heavy.active = 3;
  light.active = 1;
  t.same(
    counts([heavy, light], 100, () => lessBusyOfTwo([heavy, light], () => random.next())),
    [100, 0],
  );
  free.active = 0;
});

t.test('requests that stay open lead to loads in the ratio of the weights', async (t) => {
  const random = new SeededRandom(3);
  const some = nodes(1, 2, 3, 4);
  for (let turn = 0; turn < 10_000; turn++) {
    const node = lessBusyOfTwo(some, () => random.next());
    if (node !== undefined) node.active += 1;
  }
  for (const { active, weight } of some) isNear(t, active, 1000 * weight, 0.03);
});

t.test('keys are spread by weight', async (t) => {
  const some = nodes(1, 2, 1, 4);
  const found = counts(some, keys.length, (turn) => firstForKey(some, keys[turn] ?? 0));
  for (const [index, count] of found.entries()) isNear(t, count, 2500 * (some[index]?.weight ?? 0), 0.06);
});

t.test('a node that leaves moves its own keys and no others', async (t) => {
  const some = nodes(1, 1, 1, 1, 1);
  const before = owners(some);
  const gone = some[2]?.name;
  const after = owners(some.filter(({ name }) => name !== gone));
  const moved = before.filter((owner, index) => owner !== after[index]);
  t.ok(moved.every((owner) => owner === gone));
  t.equal(moved.length, before.filter((owner) => owner === gone).length, 'all keys of the node move');
});

t.test('a node that joins takes its share, and keys move only to it', async (t) => {
  const some = nodes(1, 1, 1, 1, 1);
  const before = owners(some.slice(0, 4));
  const after = owners(some);
  const moved = after.filter((owner, index) => owner !== before[index]);
  t.ok(moved.every((owner) => owner === some[4]?.name));
  isNear(t, moved.length, keys.length / 5, 0.06);
});

t.test('a growing weight moves keys only to its node', async (t) => {
  const before = owners(nodes(1, 1, 1));
  const grown = nodes(1, 1, 2);
  const after = owners(grown);
  const moved = after.filter((owner, index) => owner !== before[index]);
  t.ok(moved.length > 0 && moved.every((owner) => owner === grown[2]?.name));
});

t.test('if all requests have one key no node has more than 1.25 times its share', async (t) => {
  const some = nodes(1, 2, 1, 1, 3);
  const key = hashOf('the one model everybody wants');
  for (let active = 1; active <= 2000; active++) {
    const node = firstForKey(some, key);
    if (node === undefined) throw new Error('every node was passed over');
    node.active += 1;
    const most = Math.ceil((1.25 * active * node.weight) / 8);
    if (node.active > most) t.fail(`${node.active} of ${active} is more than ${most}`);
  }
  t.ok(some.every(({ active }) => active > 0));
});

t.test('a key passed over by its node goes to the node it would have without it', async (t) => {
  const some = nodes(1, 1, 1);
  for (const key of keys.slice(0, 200)) {
    const first = firstForKey(some, key) as Node;
    const second = firstForKey(
      some.filter((node) => node !== first),
      key,
    );
    first.active = 5;
    t.equal(firstForKey(some, key), second);
    first.active = 0;
  }
});
