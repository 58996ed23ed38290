/** The nodes that are drained, each for as long as the policy names it: what a worker that is new has to be told. */

import type { Upstream } from '../policy/upstream.ts';
import type { NodeName } from './messages.ts';

/** By a key of their own. */
export type NodeNames = ReadonlyMap<string, NodeName>;

export class DrainedNodes {
  readonly #upstreams: () => readonly Upstream[];
  #names: NodeNames = new Map();

  /** `upstreams`: those of the policy in force. */
  constructor(upstreams: () => readonly Upstream[]) {
    this.#upstreams = upstreams;
  }

  /** Those that are drained now: another map after every change. */
  get names(): NodeNames {
    return this.#names;
  }

  has(name: NodeName): boolean {
    return this.#names.has(keyOf(name));
  }

  /** From now on the node is drained, or is not any more; false where the policy names none like it. */
  set(name: NodeName, drained: boolean): boolean {
    if (!this.#isNamed(name)) return false;
    const names = new Map(this.#names);
    if (drained) names.set(keyOf(name), name);
    else names.delete(keyOf(name));
    this.#names = names;
    return true;
  }

  /** The policy is another one: a node that it does not name is not drained either if it is named again. */
  policyChanged(): void {
    this.#names = new Map([...this.#names].filter(([, name]) => this.#isNamed(name)));
  }

  /** Those that are drained now and were not among `before`, or the other way round. */
  changedSince(before: NodeNames): readonly NodeName[] {
    return [...new Map([...before, ...this.#names])]
      .filter(([key]) => before.has(key) !== this.#names.has(key))
      .map(([, name]) => name);
  }

  #isNamed({ upstream, node }: NodeName): boolean {
    return this.#upstreams().some(
      ({ tenant, name, nodes }) => `${tenant}/${name}` === upstream && nodes.some(({ url }) => url === node),
    );
  }
}

function keyOf({ upstream, node }: NodeName): string {
  return `${upstream} ${node}`;
}
