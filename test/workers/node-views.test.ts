/** The views that several workers have of one node are reported as one. */
import t from 'tap';
import type { UpstreamStatus } from '../../gateway/relay/upstream-pools.ts';
import { mergedGauges, mergedStatuses } from '../../gateway/workers/node-views.ts';

type NodeStatus = UpstreamStatus['nodes'][number];

const node = (state: NodeStatus['state'], addresses: NodeStatus['addresses']): NodeStatus => ({
  node: 'http://n:1',
  weight: 1,
  state,
  drained: false,
  addresses,
});
const view = (...nodes: NodeStatus[]): readonly UpstreamStatus[] => [
  { upstream: 'a/sync', balance: 'hash', nodes },
];

t.test('the merged view has the worst state that any worker sees and the requests of all', async (t) => {
  const merged = mergedStatuses([
    view(node('ready', [{ address: '10.0.0.1', state: 'ready', breaker: 'closed', active: 2 }])),
    view(
      node('down', [
        { address: '10.0.0.1', state: 'down', breaker: 'open', active: 3 },
        { address: '10.0.0.2', state: 'ready', breaker: 'half-open', active: 1 },
      ]),
    ),
  ]);
  t.same(
    merged,
    view(
      node('down', [
        { address: '10.0.0.1', state: 'down', breaker: 'open', active: 5 },
        { address: '10.0.0.2', state: 'ready', breaker: 'half-open', active: 1 },
      ]),
    ),
  );
});

t.test('a node is up only if it is for all workers, and its breaker is the most open one', async (t) => {
  const gauges = [
    { upstream: 'a/sync', node: 'http://n:1', up: 1, breaker: 0 },
    { upstream: 'a/sync', node: 'http://n:2', up: 1, breaker: 0 },
  ] as const;
  const other = [{ upstream: 'a/sync', node: 'http://n:1', up: 0, breaker: 2 }] as const;
  t.same(mergedGauges([gauges, other]), [{ ...gauges[0], up: 0, breaker: 2 }, gauges[1]]);
  t.same(mergedGauges([]), []);
});
