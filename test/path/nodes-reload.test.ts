/** The state of a node survives reloads as long as the node stays in the policy under the same settings. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { type Stage, setStage } from './stage.ts';
import { askTimes, gaugeOf, namedNode, response, until } from './upstream-stage.ts';

const STATE = 'patchgate_breaker_state';

async function change(stage: Stage, from: string, to: string): Promise<void> {
  const file = join(stage.folder, 'policies', 'tenants', 'tenant-a.yaml');
  const text = await readFile(file, 'utf8');
  await writeFile(file, text.replace(from, to));
  const outcome = await stage.gateway.reload();
  if (!outcome.successful || !text.includes(from)) throw new Error(`nothing was changed from ${from}`);
}

t.test('breaker and health survive a reload, and new settings start afresh', async (t) => {
  let status = 200;
  const [a, b] = [await namedNode(t, 'a'), await namedNode(t, 'b', () => status)];
  const stage = await setStage(t, {
    nodes: [a.address, b.address],
    upstream: `    balance: roundRobin
    health: { path: /healthz, interval: 100ms, healthyAfter: 50 }
    breaker: { minimumRequests: 2, sleepWindow: 1h }\n`,
  });
  a.answer = () => response('a', 500);
  await askTimes(stage, 4);
  status = 500;
  await until(async () => (await gaugeOf(stage, 'patchgate_node_up', b)) === 0);
  status = 200;
  t.equal(await gaugeOf(stage, STATE, a), 2);
  for (const [from, to] of [
    ['name: open', 'name: opened'],
    ['balance: roundRobin', 'balance: leastRequests'],
    ['  - name: push', '  - name: pushed'],
  ] as const) {
    await change(stage, from, to);
    t.equal(await gaugeOf(stage, STATE, a), 2, `the breaker stays open after "${to}"`);
    t.equal(await gaugeOf(stage, 'patchgate_node_up', b), 0, `the node stays down after "${to}"`);
  }
  await change(stage, 'sleepWindow: 1h', 'sleepWindow: 2h');
  t.equal(await gaugeOf(stage, STATE, a), 0);
  t.equal(await gaugeOf(stage, 'patchgate_node_up', b), 1);
});

t.test('kept connections survive a reload, and those of removed nodes are closed', async (t) => {
  const [a, b] = [await namedNode(t, 'a'), await namedNode(t, 'b')];
  const stage = await setStage(t, { nodes: [a.address] });
  await askTimes(stage, 1);
  await change(stage, 'name: open', 'name: opened');
  await askTimes(stage, 1);
  t.equal(a.received.length, 1, 'both requests used one connection');
  let closed = false;
  a.server.getConnections((_, count) => t.equal(count, 1));
  await change(stage, a.address, b.address);
  await until(async () => {
    a.server.getConnections((_, count) => {
      closed = count === 0;
    });
    return closed;
  });
  t.same(await askTimes(stage, 2), ['b', 'b']);
  t.ok(Number.isNaN(await gaugeOf(stage, STATE, a)), 'nothing is reported of the removed node any more');
});
