/** Requests for one model go to one node, which keeps it warm, as long as that node can take them. */
import t from 'tap';
import { setStage } from './stage.ts';
import { askTimes, namedNode, response } from './upstream-stage.ts';

const ROUTES = `  - name: open
    match: { methods: [GET], path: '/open/{model_id}/{stream_id}' }
    require: none
    upstream: sync
`;

t.test('a model keeps its node and gets another while that one fails', async (t) => {
  const [a, b] = [await namedNode(t, 'a'), await namedNode(t, 'b')];
  const stage = await setStage(t, {
    nodes: [a.address, b.address],
    upstream: '    balance: hash\n    breaker: { minimumRequests: 2 }\n',
    routes: ROUTES,
  });
  const owners = new Map<string, string>();
  for (let model = 0; model < 12; model++) {
    const names = new Set(await askTimes(stage, 3, `/open/model_${model}/s${model}`));
    t.equal(names.size, 1, `all requests for model_${model} went to one node`);
    owners.set(`/open/model_${model}/x`, [...names].join());
  }
  t.same([...new Set(owners.values())].sort(), ['a', 'b']);
  for (const [path, owner] of owners)
    t.same(await askTimes(stage, 1, path), [owner], 'the stream does not matter');
  a.answer = () => response('a', 500);
  const [path = ''] = [...owners].find(([, owner]) => owner === 'a') ?? [];
  // This is more than succeeded before, however many models are its own.
  await askTimes(stage, 120, path);
  t.same(await askTimes(stage, 2, path), ['b', 'b'], 'the model falls to its next node');
});
