/** The drained nodes, each for as long as the policy names it; new workers need them. */

import type { Upstream } from '../policy/upstream.ts';
import type { NodeName } from './messages.ts';

/** By upstream and node. */
export type NodeNames = ReadonlyMap<string, NodeName>;

export class DrainedNodes {
  readonly #upstreams: () => readonly Upstream[];
  #names: NodeNames = new Map();

  /** `upstreams` returns those of the policy in force. */
  constructor(upstreams: () => readonly Upstream[]) {
    this.#upstreams = upstreams;
  }

  /** The nodes drained now: a new map after every change. */
  get names(): NodeNames {
    return this.#names;
  }

  has(name: NodeName): boolean {
    return this.#names.has(keyOf(name));
  }

  /** Drains or resumes a node. Returns false if the policy does not name it. */
  set(name: NodeName, drained: boolean): boolean {
    if (!this.#isNamed(name)) return false;
    const names = new Map(this.#names);
    if (drained) names.set(keyOf(name), name);
    else names.delete(keyOf(name));
    this.#names = names;
    return true;
  }

  /** The policy has changed. A node it no longer names is forgotten, so it is not drained if it is named again. */
  policyChanged(): void {
    this.#names = new Map([...this.#names].filter(([, name]) => this.#isNamed(name)));
  }

  /** Nodes drained now but not in `before`, or the other way round. */
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
