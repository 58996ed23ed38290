/** Merges several workers' views of the nodes: the worst state any of them found, and the sum of their requests. */

import type { NodeState } from '../observe/gauge-states.ts';
import type { NodeStatus } from '../relay/upstream-node.ts';
import type { UpstreamStatus } from '../relay/upstream-pools.ts';

type AddressStatus = NodeStatus['addresses'][number];

/** From best to worst. */
const ADDRESS_STATES = ['ready', 'busy', 'resting', 'ejected', 'down', 'drained'] as const;
const NODE_STATES: readonly NodeStatus['state'][] = [...ADDRESS_STATES, 'unresolved'];
const BREAKERS: readonly AddressStatus['breaker'][] = ['closed', 'half-open', 'open'];

export function mergedStatuses(views: readonly (readonly UpstreamStatus[])[]): readonly UpstreamStatus[] {
  return merged(
    views.flat(),
    ({ upstream }) => upstream,
    (a, b) => ({
      ...a,
      nodes: merged([...a.nodes, ...b.nodes], ({ node }) => node, mergedNode),
    }),
  );
}

export function mergedGauges(views: readonly (readonly NodeState[])[]): readonly NodeState[] {
  return merged(
    views.flat(),
    ({ upstream, node }) => `${upstream} ${node}`,
    (a, b) => ({
      ...a,
      up: a.up === 0 ? a.up : b.up,
      breaker: Math.max(a.breaker, b.breaker),
    }),
  );
}

function mergedNode(a: NodeStatus, b: NodeStatus): NodeStatus {
  return {
    ...a,
    state: worse(NODE_STATES, a.state, b.state),
    drained: a.drained || b.drained,
    addresses: merged([...a.addresses, ...b.addresses], ({ address }) => address, mergedAddress),
  };
}

function mergedAddress(a: AddressStatus, b: AddressStatus): AddressStatus {
  return {
    address: a.address,
    state: worse<AddressStatus['state']>(ADDRESS_STATES, a.state, b.state),
    breaker: worse(BREAKERS, a.breaker, b.breaker),
    active: a.active + b.active,
  };
}

/** One element per key, in the order of first occurrence. */
function merged<T>(all: readonly T[], keyOf: (each: T) => string, merge: (a: T, b: T) => T): readonly T[] {
  const byKey = new Map<string, T>();
  for (const each of all) {
    const known = byKey.get(keyOf(each));
    byKey.set(keyOf(each), known === undefined ? each : merge(known, each));
  }
  return [...byKey.values()];
}

function worse<T>(order: readonly T[], a: T, b: T): T {
  return order.indexOf(a) >= order.indexOf(b) ? a : b;
}
