/** Three gateways with one Redis keep to a common limit, and go on when Redis does not. */

import t from 'tap';
import { MIB } from '../../gateway/core/units.ts';
import { skipWithout, until } from '../lists/servers.ts';
import {
  type Asked,
  askTogether,
  countingNode,
  metric,
  type SharedStage,
  StayingCaller,
  setSharedStage,
} from './shared-stage.ts';
import { exchange, HOST, type Stage, sleep } from './stage.ts';

const skip = skipWithout('redis-server', 'redis-server');
/** How long a call may take that must not hang; the bench measures how long it takes. */
const MAX_MS = 1000;

const decided = (stage: Stage, outcome: string, backend: string, limit = 'requests'): Promise<number> =>
  metric(
    stage,
    `patchgate_limit_decisions_total{limit="${limit}",outcome="${outcome}",backend="${backend}"}`,
  );

async function admittedByRedis({ gateways }: SharedStage): Promise<number> {
  const admitted = await Promise.all(gateways.map((each) => decided(each, 'admitted', 'redis')));
  return admitted.reduce((sum, each) => sum + each, 0);
}

/** A process without CPU time may find Redis slow; then it denies, so that the count stays exact. */
const onFailure = 'deny';
const withStatus = (answers: readonly Asked[], wanted: number): number =>
  answers.filter(({ status }) => status === wanted).length;

t.test('many gateways together admit no more requests than the limit', { skip }, async (t) => {
  const node = await countingNode(t, 0);
  const stage = await setSharedStage(t, { limits: '{ requests: 300/d }', onFailure, node: node.address });
  const answers = await askTogether(stage, 4, (_, sofar) => withStatus(sofar, 429) < 200);
  t.equal(withStatus(answers, 200), 300);
  t.equal(await admittedByRedis(stage), 300);
});

t.test('many gateways together give out no more places than the limit', { skip }, async (t) => {
  const node = await countingNode(t, 20);
  const stage = await setSharedStage(t, { limits: '{ concurrent: 10 }', onFailure, node: node.address });
  const answers = await askTogether(stage, 8, (_, sofar) => withStatus(sofar, 200) < 300);
  t.equal(node.mostAtOnce, 10);
  t.ok(withStatus(answers, 429) > 0);
  const again = await until(async () => {
    const callers = await askTogether(stage, 1, (asked) => asked < 1);
    return withStatus(callers, 200) === 3;
  });
  t.ok(again);
});

/** Sends without end until the gateway says that the budget is used up. */
async function pour(stage: Stage): Promise<string> {
  const token = await stage.token({ model_id: undefined });
  const socket = await stage.connect();
  const piece = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(0x10000), Buffer.from('\r\n')]);
  let isOver = false;
  const answer = exchange(
    socket,
    `PUT /limited/vision HTTP/1.1\r\nHost: ${HOST}\r\nAuthorization: Bearer ${token}\r\nTransfer-Encoding: chunked\r\n\r\n`,
    (text) => text.includes('\r\n\r\n'),
  ).finally(() => {
    isOver = true;
  });
  while (!isOver) {
    if (socket.write(piece)) await sleep(0);
    else await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), answer]);
  }
  socket.destroy();
  const text = await answer;
  return text.startsWith('HTTP/1.1 503 ') ? pour(stage) : text;
}

t.test('streams of all gateways end when the common byte budget is used up', { skip }, async (t) => {
  const node = await countingNode(t, 0);
  const stage = await setSharedStage(t, { limits: '{ bytes: 48MiB/d }', onFailure, node: node.address });
  const answers = await Promise.all([...stage.gateways, ...stage.gateways].map(pour));
  for (const answer of answers) t.match(answer, /^HTTP\/1\.1 429 /);
  t.ok(node.bytes <= 48 * MIB * 1.01, `the node got ${(node.bytes / MIB).toFixed(2)} MiB of 48`);
  // What each gateway has claimed in chunks and not used is little, and is returned.
  t.ok(node.bytes >= 48 * MIB * 0.9, `the node got ${(node.bytes / MIB).toFixed(2)} MiB of 48`);
});

/** Asks while Redis is broken and mended; every answer is counted by its status. */
async function underFaults(
  stage: SharedStage,
  breakIt: () => void | Promise<void>,
): Promise<readonly Asked[]> {
  let isOver = false;
  let admitted = 0;
  const answers = askTogether(stage, 2, (_, sofar) => {
    admitted = withStatus(sofar, 200);
    return !isOver;
  });
  await until(async () => admitted > 0);
  await breakIt();
  await sleep(1000);
  isOver = true;
  return answers;
}

async function untilShared({ gateways }: SharedStage): Promise<boolean> {
  return until(async () => {
    const states = await Promise.all(
      gateways.map((each) => metric(each, 'patchgate_limit_store_up{store="redis"}')),
    );
    return states.every((each) => each === 1);
  });
}

for (const [fault, breakIt] of [
  ['stands still', ({ redis }: SharedStage) => redis.pause()],
  ['is killed', ({ redis }: SharedStage) => redis.kill()],
] as const) {
  const mend = async ({ redis }: SharedStage): Promise<void> =>
    fault === 'is killed' ? redis.restart() : redis.resume();

  t.test(`with local each gateway has its part of the limit while Redis ${fault}`, { skip }, async (t) => {
    const node = await countingNode(t, 1);
    const stage = await setSharedStage(t, { limits: '{ requests: 30000/d }', node: node.address });
    // Gateways that go on alone do not know what Redis admitted before.
    const before = await askTogether(stage, 1, (asked) => asked < 3);
    t.equal(withStatus(before, 200), 9);
    const answers = await underFaults(stage, () => breakIt(stage));
    t.same(new Set(answers.map(({ status }) => status)), new Set([200]));
    t.ok(Math.max(...answers.map(({ ms }) => ms)) < MAX_MS);
    for (const each of stage.gateways) {
      t.ok((await decided(each, 'admitted', 'local')) > 0);
      t.equal(await metric(each, 'patchgate_limit_store_up{store="redis"}'), 0);
    }
    await mend(stage);
    t.ok(await untilShared(stage));
    const [first] = stage.gateways;
    if (first === undefined) throw new Error('no gateway');
    const shared = await decided(first, 'admitted', 'redis');
    await askTogether(stage, 1, (asked) => asked < 1);
    t.equal(await decided(first, 'admitted', 'redis'), shared + 1, 'the limit is shared again afterwards');
  });

  t.test(`with deny requests are told to come again while Redis ${fault}`, { skip }, async (t) => {
    const node = await countingNode(t, 1);
    const stage = await setSharedStage(t, {
      limits: '{ requests: 30000/d }',
      onFailure: 'deny',
      node: node.address,
    });
    const answers = await underFaults(stage, () => breakIt(stage));
    t.same(new Set(answers.map(({ status }) => status)), new Set([200, 503]));
    for (const { text } of answers.filter(({ status }) => status === 503).slice(0, 3))
      t.match(text, /\r\nRetry-After: 1\r\n.*"code":"limits-unavailable"/s);
    t.ok(Math.max(...answers.map(({ ms }) => ms)) < MAX_MS);
    const [gateway] = stage.gateways;
    const denied = (await gateway?.log(1))?.find((line) => line['http.response.status_code'] === 503);
    t.match(denied, { 'decision.step': 'limits', 'denial.code': 'limits-unavailable' });
    await mend(stage);
    t.ok(await untilShared(stage));
    t.equal(withStatus(await askTogether(stage, 1, (asked) => asked < 1), 200), 3);
  });

  t.test(`with allow requests pass and are counted while Redis ${fault}`, { skip }, async (t) => {
    const node = await countingNode(t, 1);
    const stage = await setSharedStage(t, {
      limits: '{ requests: 30000/d }',
      onFailure: 'allow',
      node: node.address,
    });
    const answers = await underFaults(stage, () => breakIt(stage));
    t.same(new Set(answers.map(({ status }) => status)), new Set([200]));
    t.ok(Math.max(...answers.map(({ ms }) => ms)) < MAX_MS);
    for (const each of stage.gateways) t.ok((await decided(each, 'admitted', 'none')) > 0);
    await mend(stage);
    t.ok(await untilShared(stage));
  });
}

t.test('with local the parts of all gateways add up to the limit', { skip }, async (t) => {
  const node = await countingNode(t, 0);
  const stage = await setSharedStage(t, { limits: '{ requests: 30/d, concurrent: 3 }', node: node.address });
  await stage.redis.kill();
  t.ok(
    await until(async () => {
      const states = await Promise.all(
        stage.gateways.map((each) => metric(each, 'patchgate_limit_store_up{store="redis"}')),
      );
      return states.every((each) => each === 0);
    }),
  );
  const answers = await askTogether(stage, 1, (asked) => asked < 20);
  t.equal(withStatus(answers, 200), 30);
});

t.test('requests admitted locally are not counted again when Redis is back', { skip }, async (t) => {
  const node = await countingNode(t, 0);
  const stage = await setSharedStage(t, { limits: '{ requests: 90/d }', node: node.address });
  stage.redis.pause();
  await askTogether(stage, 1, (asked) => asked < 20);
  stage.redis.resume();
  t.ok(await untilShared(stage));
  await sleep(200);
  await askTogether(stage, 1, (asked) => asked < 40);
  t.equal(await admittedByRedis(stage), 90);
});

t.test('a stream that outlives Redis goes on with the part of its gateway', { skip }, async (t) => {
  const node = await countingNode(t, 0);
  const stage = await setSharedStage(t, { limits: '{ bytes: 24MiB/d }', node: node.address });
  const poured = Promise.all(stage.gateways.map(pour));
  await until(() => node.bytes > 2 * MIB);
  stage.redis.pause();
  await poured;
  // This is what came from Redis before, and a third of the budget at each gateway after.
  t.ok(node.bytes <= 48 * MIB, `the node got ${(node.bytes / MIB).toFixed(1)} MiB`);
  stage.redis.resume();
});

t.test('a gateway without Redis from the start counts for itself', { skip }, async (t) => {
  const node = await countingNode(t, 0);
  const stage = await setSharedStage(t, { limits: '{ requests: 5/d }', node: node.address, gateways: 1 });
  const [gateway] = stage.gateways;
  if (gateway === undefined) throw new Error('no gateway');
  await stage.redis.kill();
  await until(async () => (await metric(gateway, 'patchgate_limit_store_up{store="redis"}')) === 0);
  const caller = await StayingCaller.connect(gateway);
  const statuses: number[] = [];
  for (let asked = 0; asked < 6; asked++) statuses.push((await caller.ask()).status);
  t.same(statuses, [200, 200, 200, 200, 200, 429]);
  caller.close();
});
